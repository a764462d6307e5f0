package gitlabtest

import (
	"regexp"
	"slices"
	"strings"
)

// Kinds of Pipeline.Kind.
const (
	kindBranch       = "branch"
	kindTag          = "tag"
	kindMergeRequest = "merge_request"
)

// protectedRef judges the pipeline's ref by the rules of this moment (Ci::Pipeline#protected_ref?,
// Project#protected_for?), whether or not the ref still exists. A merge request pipeline is judged as the branch
// refs/heads/refs/merge-requests/..., so only a wildcard as wide as that name protects it (deduced).
func (p *Project) protectedRef(pipeline Pipeline) bool {
	if pipeline.Kind == kindTag {
		return p.protectedTag(pipeline.Ref)
	}
	return p.protectedBranch(pipeline.Ref)
}

func (p *Project) protectedBranch(name string) bool { return matchesRefRule(p.ProtectedBranches, name) }

func (p *Project) protectedTag(name string) bool { return matchesRefRule(p.ProtectedTags, name) }

// matchesRefRule compares as RefMatcher does: equality, or a wildcard in which * is any run of characters and the rest
// is literal, over the whole name. Unlike environment patterns these are anchored and escaped.
func matchesRefRule(rules []string, name string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool {
		if !strings.Contains(rule, "*") {
			return rule == name
		}
		return wildcard(rule).MatchString(name)
	})
}

func wildcard(rule string) *regexp.Regexp {
	literals := strings.Split(rule, "*")
	for i, l := range literals {
		literals[i] = regexp.QuoteMeta(l)
	}
	return regexp.MustCompile(`\A` + strings.Join(literals, ".*?") + `\z`)
}
