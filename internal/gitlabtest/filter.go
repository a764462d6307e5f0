package gitlabtest

import (
	"fmt"
	"regexp"
	"strings"
)

// jobFacts are what the filters judge by.
type jobFacts struct {
	environment  string // full name; empty without a persisted environment
	protectedRef bool
}

// allowed is FilterService (app/services/clusters/agents/authorizations/ci_access/filter_service.rb): of the
// authorizations found, those that the job's environment and ref satisfy. An entry that fails is not replaced by a
// wider one. An error is what GitLab answers 500 for.
func (st *state) allowed(found []authorization, facts jobFacts) ([]authorization, error) {
	kept := make([]authorization, 0, len(found))
	for _, a := range found {
		if a.entry == nil {
			kept = append(kept, a)
			continue
		}
		matches, err := matchesEnvironments(a.entry.config["environments"], facts.environment)
		if err != nil {
			return nil, fmt.Errorf("agent %d: %w", a.agent.ID, err)
		}
		if matches && (st.instance.Settings.IgnoresProtectedBranches || permitsRef(a.entry.config, facts.protectedRef)) {
			kept = append(kept, a)
		}
	}
	return kept, nil
}

// permitsRef reads protected_branches_only with Ruby's truthiness: anything but null and false means true (deduced).
func permitsRef(config map[string]any, protected bool) bool {
	only := config["protected_branches_only"]
	return protected || only == nil || only == false
}

// matchesEnvironments: a blank list restricts nothing; any other never matches a job without environment, not even as
// ["*"].
func matchesEnvironments(environments any, name string) (bool, error) {
	if blank(environments) {
		return true, nil
	}
	if name == "" {
		return false, nil
	}
	patterns, ok := environments.([]any)
	if !ok {
		return false, fmt.Errorf("environments is no list but %T", environments) // NoMethodError in Ruby (deduced)
	}
	for _, pattern := range patterns {
		if matches, err := matchesEnvironment(pattern, name); matches || err != nil {
			return matches, err
		}
	}
	return false, nil
}

// matchesEnvironment is EnvironmentMatcher (lib/gitlab/ci/environment_matcher.rb). A pattern with * becomes a regular
// expression, each * as .*, that is neither anchored nor escaped: prod* matches preprod, v1.2/* matches v1x2/a, and
// a(b* is an error for every job that gets as far as it.
//
// Go's RE2 differs from Ruby's engine in that look-around, back-references and possessive quantifiers are errors.
func matchesEnvironment(pattern any, name string) (bool, error) {
	if blank(pattern) {
		return false, nil
	}
	text, ok := pattern.(string)
	if !ok {
		return false, fmt.Errorf("the environment pattern is no string but %T", pattern) // NoMethodError in Ruby (deduced)
	}
	if text == name {
		return true, nil
	}
	if !strings.Contains(text, "*") {
		return false, nil
	}
	expression, err := regexp.Compile(strings.ReplaceAll(text, "*", ".*"))
	if err != nil {
		return false, fmt.Errorf("compiling an environment pattern: %w", err)
	}
	return expression.MatchString(name), nil
}

// blank is Rails' blank?.
func blank(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return false
	}
}
