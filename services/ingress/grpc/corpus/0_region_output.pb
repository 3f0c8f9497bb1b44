
m3i-1*
xFP32:123456782[
y
shared_memory_regionr
shared_memory_byte_size(
shared_memory_offset