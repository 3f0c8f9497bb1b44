
m3i-1"
timeout"
timeout*
xFP32:12345678