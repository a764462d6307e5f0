package config_test

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
)

func TestSchema_AcceptsWhatParseAccepts(t *testing.T) {
	schema := compiled(t)
	for _, file := range []string{"documented.yaml", "minimal.yaml", "restricted.yaml"} {
		if err := schema.Validate(instance(t, read(t, "testdata/"+file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchema_RefusesWhatParseRefuses(t *testing.T) {
	schema := compiled(t)
	for _, row := range []struct{ name, from, to string }{
		{"unknown key", "agents:", "agnets: []\nagents:"},
		{"unknown key in a list", agent, agent + "  token: x\n"},
		{"no URL", "  url: " + url, "  maxInFlight: 1"},
		{"no gitlab", "gitlab:\n  url: " + url + "\n", ""},
		{"empty URL", url, `""`},
		{"another version", "jobgate.io/v1alpha1", "jobgate.io/v2"},
		{"another kind", "kind: Configuration", "kind: Config"},
		{"no agent id", "- id: 4\n  name", "- name"},
		{"agent id of 0", "id: 4", "id: 0"},
		{"string for an integer", "id: 4", `id: "4"`},
		{"number for a string", "path/to/agent/project:agent-name", "4"},
		{"string for a boolean", "agents:", "explainRejections: \"true\"\nagents:"},
		{"object for a list", "- id: 4\n" + agent, "  id: 4\n"},
		{"no rate", "agents:", "  rateLimit: {requestsPerSecond: 0}\nagents:"},
		{"too many requests in flight", "agents:", "  maxInFlight: 10001\nagents:"},
		{"duration without a unit", "agents:", "  timeout: 10\nagents:"},
		{"text for a duration", "agents:", "  timeout: soon\nagents:"},
		{"unknown tier", serving, "restrictions: [{name: a, require: {environmentTiers: [prod]}}]\n" + serving},
		{"project id of 0", serving, "restrictions: [{name: a, require: {projects: [0]}}]\n" + serving},
		{"restriction without a name", serving, "restrictions: [{require: {projects: [1]}}]\n" + serving},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := edit(t, row.from, row.to)
			if err := schema.Validate(instance(t, text)); err == nil {
				t.Errorf("the schema accepts\n%s", text)
			}
			if _, err := config.Parse("config.yaml", []byte(text)); err == nil {
				t.Errorf("Parse accepts\n%s", text)
			}
		})
	}
}

// The pattern for durations is written by hand.
func TestSchema_HasGoDurations(t *testing.T) {
	schema := compiled(t)
	for _, duration := range []string{
		"0", "00", "0s", "-1s", "10s", "2m30s", "1.5h", ".5s", "1h2m3s4ms5us6µs7ns", "", "s", "10", "1d", "1 s", "1s;", ".",
	} {
		text := strings.Replace(read(t, "testdata/minimal.yaml"), "serving:", "cache: {freshFor: \""+duration+"\"}\nserving:", 1)
		_, parseErr := config.Parse("config.yaml", []byte(text))
		if schemaErr := schema.Validate(instance(t, text)); (schemaErr == nil) != (parseErr == nil) {
			t.Errorf("%q: schema says %v, Parse says %v", duration, schemaErr, parseErr)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := config.Schema()
	must(t, err)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	must(t, err)
	compiler := jsonschema.NewCompiler()
	must(t, compiler.AddResource(config.SchemaURL, document))
	schema, err := compiler.Compile(config.SchemaURL)
	must(t, err)
	return schema
}

// instance is YAML as a validator sees it.
func instance(t *testing.T, text string) any {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	must(t, err)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	must(t, err)
	return value
}
