"""What Ansible loads from us to reach a host."""
