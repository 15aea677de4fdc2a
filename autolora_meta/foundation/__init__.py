"""Foundation: what any part of the library may use."""
