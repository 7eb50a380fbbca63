# METADATA
# title: Provenance
# description: |
#   What destroys, or passes a point of no return, does not rest on a planner's reading of the
#   ticket's words alone: its targets are bound by the ticket's own field, and each of its values by
#   a field, the inventory or a default.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: critical
#   findings:
#     prose:
#       level: hard
#       satisfy: "Write the value into the ticket's params."
#     unbounded:
#       level: hard
#       satisfy: "Write the targets into the ticket's targets."
package interlock.rules.provenance

import rego.v1

severe(class) if class.effect == "destroy"

severe(class) if class.point_of_no_return == true

deny contains {"id": "provenance.prose", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	severe(class)
	some name, param in class.params
	param.grounded == false
	msg := concat("", ["the param ", name, " of ", class.actor, " rests on the ticket's prose alone"])
	edit := concat("", ["write ", name, " into the ticket's params"])
}

deny contains {"id": "provenance.unbounded", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	severe(class)
	class.targets > 0
	input.ticket.bounded == false
	msg := concat("", ["what ", class.actor, " may touch rests on the ticket's prose alone"])
	edit := "write the targets into the ticket's `targets:`"
}
