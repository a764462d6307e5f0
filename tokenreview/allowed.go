package tokenreview

import (
	"fmt"
	"strings"

	"github.com/jobgate/jobgate/internal/gitlab"
)

// Allowed lists what access_as impersonate may become. An entry is an exact value, or a prefix that ends in "*".
//
// KAS needs no such list: there, agentk's ServiceAccount is asked for the impersonate verb. A webhook's answer is final,
// so without the list the author of an agent's config.yaml could name system:masters.
type Allowed struct {
	Users     []string
	Groups    []string
	UIDs      []string
	ExtraKeys []string
}

// system is Kubernetes' own name space for users and groups. Only an exact entry opens a name in it.
const system = "system:"

// reservedDomains are those whose extra keys say who vouches for an identity, or carry Kubernetes' own meaning.
var reservedDomains = []string{"agent.gitlab.com", "jobgate.io", "kubernetes.io"}

// allowlists are Allowed, compiled.
type allowlists struct{ users, groups, uids, extraKeys allowlist }

func compile(a Allowed) allowlists {
	return allowlists{
		users:     newAllowlist(a.Users),
		groups:    newAllowlist(a.Groups),
		uids:      newAllowlist(a.UIDs),
		extraKeys: newAllowlist(lower(a.ExtraKeys)),
	}
}

// lower makes extra keys comparable: asImpersonated lower-cases them.
func lower(keys []string) []string {
	lowered := make([]string, len(keys))
	for i, k := range keys {
		lowered[i] = strings.ToLower(k)
	}
	return lowered
}

// refusal names the first part of an identity that is not allowed, quoted and cut; empty when all of it is.
func (a *allowlists) refusal(i *gitlab.Impersonate) string {
	if !a.users.allows(i.Username) {
		return fmt.Sprintf("user %.64q", i.Username)
	}
	if i.UID != "" && !a.uids.allows(i.UID) {
		return fmt.Sprintf("uid %.64q", i.UID)
	}
	for _, g := range i.Groups {
		if !a.groups.allows(g) {
			return fmt.Sprintf("group %.64q", g)
		}
	}
	for _, e := range i.Extra {
		if key := strings.ToLower(e.Key); isReserved(key) || !a.extraKeys.allows(key) {
			return fmt.Sprintf("extra key %.64q", key)
		}
	}
	return ""
}

// isReserved takes a lower-case key.
func isReserved(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	for _, reserved := range reservedDomains {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return true
		}
	}
	return false
}

type allowlist struct {
	exact    map[string]struct{}
	prefixes []string
}

func newAllowlist(entries []string) allowlist {
	l := allowlist{exact: make(map[string]struct{}, len(entries))}
	for _, e := range entries {
		if p, isPrefix := strings.CutSuffix(e, "*"); isPrefix {
			l.prefixes = append(l.prefixes, p)
		} else {
			l.exact[e] = struct{}{}
		}
	}
	return l
}

func (l *allowlist) allows(value string) bool {
	if _, ok := l.exact[value]; ok {
		return true
	}
	if strings.HasPrefix(value, system) {
		return false
	}
	for _, p := range l.prefixes {
		if strings.HasPrefix(value, p) {
			return true
		}
	}
	return false
}
