package gitlabtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxAuthorizedEntities is AUTHORIZED_ENTITY_LIMIT of RefreshService
// (app/services/clusters/agents/authorizations/ci_access/refresh_service.rb): of projects and of groups each, the first
// 500 entries count and the rest is silently ignored.
const maxAuthorizedEntities = 500

// ciAccess is the ci_access section of an agent's config.yaml. Other keys, such as a singular project, mean nothing.
type ciAccess struct {
	projects []accessEntry
	groups   []accessEntry
	instance *accessEntry
}

// accessEntry is one entry of the section. GitLab stores it without its id and validates nothing in it
// (clusters_agents_authorizations_ci_access_config.json is an open schema).
type accessEntry struct {
	path   string          // the id, in lower case; empty for the instance entry
	stored json.RawMessage // the configuration as returned by the lookup
	config map[string]any  // the same, for the filters; numbers are json.Number
}

// parseCIAccess reads a config.yaml. What KAS refuses before it reaches GitLab is an error (bad YAML, an entry
// that is not a mapping or has no id). What only the schema of KAS refuses, such as an unknown key, is not.
func parseCIAccess(config string) (*ciAccess, error) {
	asJSON, err := yaml.YAMLToJSON([]byte(config))
	if err != nil {
		return nil, fmt.Errorf("parsing config.yaml: %w", err)
	}
	var file struct {
		CIAccess struct {
			Projects []map[string]any `json:"projects"`
			Groups   []map[string]any `json:"groups"`
			Instance map[string]any   `json:"instance"`
		} `json:"ci_access"`
	}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.UseNumber()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading config.yaml: %w", err)
	}
	var access ciAccess
	if access.projects, err = accessEntries(file.CIAccess.Projects); err != nil {
		return nil, fmt.Errorf("ci_access.projects: %w", err)
	}
	if access.groups, err = accessEntries(file.CIAccess.Groups); err != nil {
		return nil, fmt.Errorf("ci_access.groups: %w", err)
	}
	if file.CIAccess.Instance != nil { // {} counts, null does not
		if access.instance, err = newAccessEntry("", file.CIAccess.Instance); err != nil {
			return nil, fmt.Errorf("ci_access.instance: %w", err)
		}
	}
	return &access, nil
}

// accessEntries keeps the first 500 entries and of those with the same id the last, at the place of the first.
func accessEntries(items []map[string]any) ([]accessEntry, error) {
	items = items[:min(len(items), maxAuthorizedEntities)]
	entries := make([]accessEntry, 0, len(items))
	at := make(map[string]int, len(items))
	for i, item := range items {
		id, ok := item["id"].(string)
		if !ok || id == "" {
			return nil, fmt.Errorf("entry %d: %w", i, errNoID)
		}
		delete(item, "id")
		entry, err := newAccessEntry(strings.ToLower(id), item)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if earlier, found := at[entry.path]; found {
			entries[earlier] = *entry
			continue
		}
		at[entry.path] = len(entries)
		entries = append(entries, *entry)
	}
	return entries, nil
}

var errNoID = errors.New("id is required")

func newAccessEntry(path string, config map[string]any) (*accessEntry, error) {
	stored, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("storing the configuration: %w", err)
	}
	return &accessEntry{path: path, stored: stored, config: config}, nil
}

// impersonation names the access_as fields that need a licence (cluster_agents_ci_impersonation).
var impersonation = []string{"ci_job", "ci_user", "impersonate"}

// available is the scope with_available_ci_access_fields (concerns/clusters/agents/authorizations/ci_access/
// config_scopes.rb): access_as is absent, {} or has an allowed field. GitLab ignores an entry that is not
// available; it never downgrades one. A null counts as absent, since KAS posts no nulls.
func (e *accessEntry) available(licensed bool) bool {
	accessAs := e.config["access_as"]
	if fields, ok := accessAs.(map[string]any); accessAs == nil || ok && len(fields) == 0 {
		return true
	}
	if hasField(accessAs, "agent") {
		return true
	}
	for _, name := range impersonation {
		if licensed && hasField(accessAs, name) {
			return true
		}
	}
	return false
}

// hasField is PostgreSQL's jsonb operator ?, which is also true for an element of a list and for an equal string.
func hasField(value any, name string) bool {
	switch v := value.(type) {
	case map[string]any:
		_, found := v[name]
		return found
	case []any:
		for _, element := range v {
			if element == name {
				return true
			}
		}
		return false
	default:
		return value == name
	}
}
