
m3i-1**
xFP32"
shared_memory_regionr