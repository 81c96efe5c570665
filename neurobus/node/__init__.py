"""A neuron process: kernels (compiled), core (sans-IO), runtime (asyncio)."""
