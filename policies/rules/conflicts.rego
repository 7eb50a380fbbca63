# METADATA
# title: Conflicts with other runs
# description: |
#   While another run holds what this one needs, this one does not start; what another run wants is
#   shown.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: medium
#   findings:
#     held:
#       level: soft
#       satisfy: "Wait until the other run has ended."
#     wanted:
#       level: advisory
#       satisfy: "Agree with the owner of the other run who goes first."
package interlock.rules.conflicts

import rego.v1

acts := {"apply": true, "rollback": true}

deny contains {"id": "conflicts.held", "subject": other.run, "msg": msg} if {
	acts[input.mode]
	some other in input.conflicts
	other.state == "held"
	number := format_int(other.resources, 10)
	msg := concat("", [other.run, " holds ", number, " of the things that this plan needs"])
}

deny contains {"id": "conflicts.wanted", "subject": other.run, "msg": msg} if {
	some other in input.conflicts
	not settled(other)
	number := format_int(other.resources, 10)
	msg := concat("", [other.run, " too needs ", number, " of the things that this plan needs: ", other.state, " by it"])
}

settled(other) if {
	acts[input.mode]
	other.state == "held"
}
