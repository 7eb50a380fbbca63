"""What Ansible runs on targets for us."""
