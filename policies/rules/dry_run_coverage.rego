# METADATA
# title: Dry run coverage
# description: |
#   Where it is demanded, a plan starts only after a dry run that could predict enough of its
#   changes.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: medium
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     missing:
#       level: soft
#       satisfy: "interlock dry-run RUN, then start again."
#     too_little:
#       level: soft
#       satisfy: "Use actors that can predict, or have the gap waived by name."
package interlock.rules.dry_run_coverage

import rego.v1

env := input.environment.name

risk := input.ticket.risk

rules := data.params.dry_run_coverage[env][risk]

complete if {
	is_boolean(rules.required)
	is_number(rules.percent)
}

deny contains {"id": "dry_run_coverage.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about dry_run_coverage for ", env])
}

deny contains {"id": "dry_run_coverage.missing", "subject": "plan", "msg": msg, "edit": edit} if {
	input.mode == "apply"
	rules.required == true
	input.preview.done == false
	msg := concat("", ["a change of ", risk, " risk in ", env, " starts only after a dry run"])
	edit := concat("", ["interlock dry-run ", input.run.id])
}

deny contains {"id": "dry_run_coverage.too_little", "subject": "plan", "msg": msg} if {
	input.preview.done == true
	input.preview.coverage_percent < rules.percent
	least := format_int(rules.percent, 10)
	msg := concat("", ["the dry run covered ", format_int(input.preview.coverage_percent, 10), " % of the changes; at least ", least, " %"])
}
