package main

import (
	"fmt"
	"slices"
	"strings"
)

// otherPackages is what the report calls the packages without an installation.
const otherPackages = "helpers"

// group is the tests whose names begin with Test and one of the words. The groups take about the same time.
type group struct {
	name  string
	words []string
}

var groups = []group{
	{name: "setup", words: []string{"Certs", "Check", "Init", "Kubeadm", "Targets"}},
	{name: "authors", words: []string{"CIAuthor", "Manifests", "RBAC"}},
	{name: "pages", words: []string{"Admission", "Commands", "EnvironmentTier", "Stamp", "Troubleshooting"}},
	{name: "operation", words: []string{"Alerts", "Dashboard", "Grants", "Independence", "Instances", "Monitoring", "Structured"}},
	{name: "jobs"}, // all others
}

func (g group) has(test string) bool {
	return len(g.words) == 0 || slices.ContainsFunc(g.words, func(word string) bool { return strings.HasPrefix(test, "Test"+word) })
}

// assign puts each test into the first group that has it. A group without tests has lost them to a change of names.
func assign(tests []string) (map[string][]string, error) {
	assigned := map[string][]string{}
	for _, test := range tests {
		i := slices.IndexFunc(groups, func(g group) bool { return g.has(test) })
		assigned[groups[i].name] = append(assigned[groups[i].name], test)
	}
	for _, g := range groups {
		for _, word := range g.words {
			if !slices.ContainsFunc(assigned[g.name], func(test string) bool { return strings.HasPrefix(test, "Test"+word) }) {
				return nil, fmt.Errorf("group %s: no test begins with Test%s", g.name, word)
			}
		}
	}
	return assigned, nil
}
