"""Tasks after X-MAGICAL: pushing blocks in a planar arena with sticks of three lengths."""
