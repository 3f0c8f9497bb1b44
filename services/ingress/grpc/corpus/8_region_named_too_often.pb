
m3i-1*I
xFP32"
shared_memory_regionr"
shared_memory_byte_size*I
xFP32"
shared_memory_regionr"
shared_memory_byte_size