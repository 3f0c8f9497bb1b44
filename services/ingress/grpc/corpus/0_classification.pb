
m3i-1*
xFP32:123456782
y
classification