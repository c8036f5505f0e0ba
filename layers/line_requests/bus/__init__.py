"""The event bus: state changes out, provisioning results in."""
