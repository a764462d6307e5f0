package gitlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"
)

// maxConfiguration bounds one agent's configuration, in bytes: it is kept for every job that may use the agent.
const maxConfiguration = 64 << 10

// ErrConfiguration is in the chain of every error that ParseConfiguration returns.
var ErrConfiguration = errors.New("unusable agent configuration")

// Mode is what access_as asks for.
type Mode int

// The modes of access_as. There is no zero Mode: a Configuration that was never read asks for nothing.
const (
	_ Mode = iota
	// AsAgent is the agent's own identity; the default.
	AsAgent
	// AsCIJob is the identity of the job.
	AsCIJob
	// AsImpersonated is the identity spelled out in the configuration.
	AsImpersonated
)

// Configuration is one entry of an agent's ci_access, without its id.
type Configuration struct {
	AccessAs              Mode
	Impersonate           Impersonate // set with AsImpersonated only
	Environments          []string    // patterns; empty restricts nothing, a blank pattern matches nothing
	ProtectedBranchesOnly bool
}

// Impersonate is a static identity as the agent's authors wrote it.
type Impersonate struct {
	Username string // not empty
	UID      string
	Groups   []string
	Extra    []ExtraKey // in the order written; keys may repeat
}

// ExtraKey is one extra of a static identity (agentcfg's ExtraKeyValCF).
type ExtraKey struct {
	Key    string   `json:"key"`
	Values []string `json:"val"`
}

// ParseConfiguration reads what GitLab stored for an agent. Keys that it does not know are ignored, except in access_as,
// where an unknown mode must not fall back to another. Every error wraps ErrConfiguration.
func ParseConfiguration(raw []byte) (Configuration, error) {
	if len(raw) > maxConfiguration {
		return Configuration{}, fmt.Errorf("%w: larger than %d bytes", ErrConfiguration, maxConfiguration)
	}
	c := Configuration{AccessAs: AsAgent}
	if isNull(raw) {
		return c, nil
	}
	var entry struct {
		AccessAs              json.RawMessage `json:"access_as"`
		Environments          json.RawMessage `json:"environments"`
		ProtectedBranchesOnly json.RawMessage `json:"protected_branches_only"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &entry); err != nil {
		return Configuration{}, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	if err := c.readAccessAs(entry.AccessAs); err != nil {
		return Configuration{}, fmt.Errorf("%w: access_as: %w", ErrConfiguration, err)
	}
	var err error
	if c.Environments, err = readEnvironments(entry.Environments); err != nil {
		return Configuration{}, fmt.Errorf("%w: environments: %w", ErrConfiguration, err)
	}
	// Ruby's truth, as GitLab's filter has it (filter_service.rb): everything but null and false, even "false" and 0.
	c.ProtectedBranchesOnly = !isNull(entry.ProtectedBranchesOnly) && string(entry.ProtectedBranchesOnly) != "false"
	return c, nil
}

// readAccessAs picks the one mode. A mode whose value is not an object, as in "ci_job:" with nothing behind it, is an
// error and not the default: the default can be the wider identity.
func (c *Configuration) readAccessAs(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	var modes map[string]json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &modes); err != nil {
		return err
	}
	if len(modes) > 1 {
		return fmt.Errorf("%d modes where one belongs", len(modes))
	}
	for name, value := range modes {
		if trimmed := bytes.TrimSpace(value); len(trimmed) == 0 || trimmed[0] != '{' {
			return fmt.Errorf("mode %.32q is not an object", name)
		}
		switch name {
		case "agent":
			c.AccessAs = AsAgent
		case "ci_job":
			c.AccessAs = AsCIJob
		case "impersonate":
			c.AccessAs = AsImpersonated
			return c.Impersonate.read(value)
		default:
			return fmt.Errorf("unknown mode %.32q", name)
		}
	}
	return nil
}

func (i *Impersonate) read(raw []byte) error {
	var wire struct {
		Username string     `json:"username"`
		UID      string     `json:"uid"`
		Groups   []string   `json:"groups"`
		Extra    []ExtraKey `json:"extra"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &wire); err != nil {
		return fmt.Errorf("impersonate: %w", err)
	}
	if strings.TrimSpace(wire.Username) == "" {
		return errors.New("impersonate: username is empty")
	}
	for _, g := range wire.Groups {
		if strings.TrimSpace(g) == "" {
			return errors.New("impersonate: a group is empty")
		}
	}
	for _, e := range wire.Extra {
		if strings.TrimSpace(e.Key) == "" || len(e.Values) == 0 {
			return errors.New("impersonate: an extra lacks its key or its values")
		}
	}
	*i = Impersonate{Username: wire.Username, UID: wire.UID, Groups: wire.Groups, Extra: wire.Extra}
	return nil
}

// readEnvironments reads the list. GitLab takes an empty string for no list at all, and a null in the list for a
// pattern that matches nothing (environment_matcher.rb).
func readEnvironments(raw json.RawMessage) ([]string, error) {
	if isNull(raw) || string(raw) == `""` {
		return nil, nil
	}
	var patterns []string
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &patterns); err != nil {
		return nil, err
	}
	return patterns, nil
}

func isNull(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }
