
m3i-1*W
xFP32")
shared_memory_region/proc/self/fd/3"
shared_memory_byte_size