# METADATA
# title: Blast radius
# description: |
#   How much one plan may touch, in numbers and in failure domains: targets, share of the
#   environment, targets out of service at once, values of a label such as sites, and how small a
#   rolling block begins.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     targets:
#       level: hard
#       satisfy: "Split the ticket into parts with fewer targets."
#     percent:
#       level: soft
#       satisfy: "Split the ticket into parts, and let the first prove itself before the next."
#     at_once:
#       level: hard
#       satisfy: "Lower max_parallel or the size of the wave."
#     spread:
#       level: hard
#       satisfy: "Split the ticket by the failure domain that it names."
#     first_slice:
#       level: soft
#       satisfy: "Begin with a smaller slice; what it breaks, it breaks for few."
package interlock.rules.blast_radius

import rego.v1

env := input.environment.name

limits := data.params.blast_radius[env]

complete if {
	is_number(limits.targets)
	is_number(limits.percent)
	is_number(limits.at_once)
	is_number(limits.first_slice)
	is_object(limits.spread)
}

deny contains {"id": "blast_radius.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about blast_radius for ", env])
}

deny contains {"id": "blast_radius.targets", "subject": "plan", "msg": msg, "edit": edit} if {
	complete
	input.summary.targets > limits.targets
	most := format_int(limits.targets, 10)
	msg := concat("", ["the plan touches ", format_int(input.summary.targets, 10), " targets; in ", env, " at most ", most])
	edit := concat("", ["split the ticket into parts of at most ", most, " targets"])
}

deny contains {"id": "blast_radius.percent", "subject": "plan", "msg": msg} if {
	complete
	input.summary.changed_percent > limits.percent
	share := format_int(input.summary.changed_percent, 10)
	msg := concat("", ["the plan changes ", share, " % of ", env, "; at most ", format_int(limits.percent, 10), " %"])
}

deny contains {"id": "blast_radius.at_once", "subject": "plan", "msg": msg, "edit": edit} if {
	complete
	input.summary.at_once > limits.at_once
	most := format_int(limits.at_once, 10)
	msg := concat("", [format_int(input.summary.at_once, 10), " targets may be out of service at once; at most ", most])
	edit := concat("", ["let at most ", most, " targets be disturbed at a time: smaller slices, or a lower max_parallel"])
}

deny contains {"id": "blast_radius.spread", "subject": label, "msg": msg, "edit": edit} if {
	complete
	some label, most in limits.spread
	values := input.inventory.domains[label]
	touched := count([value | values[value].targets > 0])
	touched > most
	msg := concat("", ["the plan touches ", format_int(touched, 10), " values of ", label, "; at most ", format_int(most, 10)])
	edit := concat("", ["write one ticket for each ", label])
}

deny contains {"id": "blast_radius.first_slice", "subject": wave, "msg": msg, "edit": edit} if {
	complete
	some wave, facts in input.plan.waves
	facts.slices > 1
	facts.first > limits.first_slice
	most := format_int(limits.first_slice, 10)
	msg := concat("", ["the wave ", wave, " begins with ", format_int(facts.first, 10), " targets; at most ", most])
	edit := concat("", ["let the wave begin with a slice of at most ", most])
}
