"""X-MAGICAL re-made: pushing flat shapes about a flat arena with sticks of three lengths."""
