
m3i-1*
xFP32:123456782d
y
shared_memory_regionr&
shared_memory_byte_size(ÿÿÿÿÿÿÿÿÿ
shared_memory_offset