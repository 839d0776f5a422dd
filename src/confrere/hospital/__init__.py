"""What runs inside a hospital: the gate, and following the flow."""
