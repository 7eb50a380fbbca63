"""The kind that runs Ansible playbooks; `README.md` says what their authors have to know."""
