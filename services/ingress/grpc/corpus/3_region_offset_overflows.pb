
m3i-1*n
xFP32"
shared_memory_regionr"
shared_memory_byte_size("#
shared_memory_offset(ÿÿÿÿÿÿÿÿÿ