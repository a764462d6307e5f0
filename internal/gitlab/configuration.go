package gitlab

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	kjson "sigs.k8s.io/json"

	"github.com/jobgate/jobgate/internal/job"
)

// maxConfigurations bounds the configurations that are remembered to be shared: with the largest ones that is some
// tens of MiB, with usual ones less than one.
const maxConfigurations = 256

// configurations holds each distinct configuration once, so that all jobs with the same entry share it.
type configurations struct {
	bySum *lru.Cache[[sha256.Size]byte, parsedConfiguration]
}

type parsedConfiguration struct {
	configuration *job.Configuration
	err           error
}

func newConfigurations() *configurations {
	cache, err := lru.New[[sha256.Size]byte, parsedConfiguration](maxConfigurations)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &configurations{bySum: cache}
}

// errNoConfigProject is for an entry whose identity could not name the agent's project.
var errNoConfigProject = fmt.Errorf("%w: config_project has no id", job.ErrConfiguration)

// agent is the entry with its shared configuration. Without a cache each entry is parsed by itself.
func (c *configurations) agent(a *AllowedAgent) job.Agent {
	if a.ConfigProjectID == 0 {
		return job.Agent{ID: a.ID, Err: errNoConfigProject}
	}
	if c == nil {
		configuration, err := a.ParseConfiguration()
		return job.Agent{ID: a.ID, ConfigProjectID: a.ConfigProjectID, Configuration: configuration, Err: err}
	}
	sum := sha256.Sum256(a.Configuration)
	p, ok := c.bySum.Get(sum)
	if !ok || a.TooLarge {
		p.configuration, p.err = a.ParseConfiguration()
	}
	if !ok && !a.TooLarge {
		c.bySum.Add(sum, p)
	}
	return job.Agent{ID: a.ID, ConfigProjectID: a.ConfigProjectID, Configuration: p.configuration, Err: p.err}
}

// ParseConfiguration reads what GitLab stored for an agent. Keys that it does not know are ignored, except in access_as,
// where an unknown mode must not fall back to another. Every error wraps job.ErrConfiguration.
func (a *AllowedAgent) ParseConfiguration() (*job.Configuration, error) {
	if a.TooLarge || len(a.Configuration) > maxConfiguration {
		return nil, fmt.Errorf("%w: larger than %d bytes", job.ErrConfiguration, maxConfiguration)
	}
	c, err := parseConfiguration(a.Configuration)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", job.ErrConfiguration, err)
	}
	return c, nil
}

func parseConfiguration(raw []byte) (*job.Configuration, error) {
	c := &job.Configuration{AccessAs: job.AsAgent}
	if isNull(raw) {
		return c, nil
	}
	var entry struct {
		AccessAs              json.RawMessage `json:"access_as"`
		Environments          json.RawMessage `json:"environments"`
		ProtectedBranchesOnly json.RawMessage `json:"protected_branches_only"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &entry); err != nil {
		return nil, err
	}
	if err := readAccessAs(c, entry.AccessAs); err != nil {
		return nil, fmt.Errorf("access_as: %w", err)
	}
	var err error
	if c.Environments, err = readPatterns(entry.Environments); err != nil {
		return nil, fmt.Errorf("environments: %w", err)
	}
	// Ruby's truth, as GitLab's filter has it (filter_service.rb): everything but null and false, even "false" and 0.
	c.ProtectedBranchesOnly = !isNull(entry.ProtectedBranchesOnly) && string(entry.ProtectedBranchesOnly) != "false"
	return c, nil
}

// readAccessAs picks the one mode. A mode whose value is not an object, as in "ci_job:" with nothing behind it, is an
// error and not the default: the default can be the wider identity.
func readAccessAs(c *job.Configuration, raw json.RawMessage) error {
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
			c.AccessAs = job.AsAgent
		case "ci_job":
			c.AccessAs = job.AsCIJob
		case "impersonate":
			c.AccessAs = job.AsImpersonated
			return readImpersonate(&c.Impersonate, value)
		default:
			return fmt.Errorf("unknown mode %.32q", name)
		}
	}
	return nil
}

func readImpersonate(i *job.Impersonate, raw []byte) error {
	var wire struct {
		Username string         `json:"username"`
		UID      string         `json:"uid"`
		Groups   []string       `json:"groups"`
		Extra    []job.ExtraKey `json:"extra"`
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
	*i = job.Impersonate{Username: wire.Username, UID: wire.UID, Groups: wire.Groups, Extra: wire.Extra}
	return nil
}

// readPatterns reads the list. GitLab takes an empty string for no list at all, and a null in the list for a
// pattern that matches nothing (environment_matcher.rb).
func readPatterns(raw json.RawMessage) ([]string, error) {
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
