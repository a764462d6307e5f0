package config

import (
	"encoding/json"
	"fmt"
	"reflect"

	"sigs.k8s.io/yaml"
)

// SchemaURL is where editors find the schema of the present version.
const SchemaURL = "https://raw.githubusercontent.com/jobgate/jobgate/main/docs/configuration.schema.json"

// Modeline is the comment that tells an editor's YAML language server the schema of the file below it.
const Modeline = "# yaml-language-server: $schema=" + SchemaURL

// durationPattern is what time.ParseDuration reads, without a sign.
const durationPattern = `^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// schema is a JSON Schema. Draft 7 is the newest that every editor knows.
type schema map[string]any

// Schema returns the JSON Schema of a configuration file.
func Schema() ([]byte, error) {
	root, _ := schemaOfObject(reflect.ValueOf(*Default()))
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["$id"] = SchemaURL
	root["title"] = "jobgate's configuration file"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// schemaOfObject also says whether a file must have the object, as it has required keys.
func schemaOfObject(defaults reflect.Value) (_ schema, required bool) {
	properties, names := schema{}, []string{}
	for _, k := range keysOf(defaults.Type()) {
		property, needed := schemaOfKey(&k, defaults.FieldByIndex(k.index))
		properties[k.name] = property
		if needed {
			names = append(names, k.name)
		}
	}
	object := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(names) > 0 {
		object["required"] = names
	}
	return object, len(names) > 0
}

func schemaOfKey(k *key, defaultValue reflect.Value) (s schema, required bool) {
	s, required = schemaOfValue(k, k.typ, defaultValue)
	required = required || k.required && defaultValue.IsZero()
	s["description"] = k.doc
	if k.cost != "" {
		s["description"] = k.doc + " Cost: " + k.cost
	}
	if k.example != "" {
		var example any
		if err := yaml.Unmarshal([]byte(k.example), &example); err != nil {
			panic(fmt.Sprintf("example of the configuration key %s: %v", k.name, err))
		}
		s["examples"] = []any{example}
	}
	if text := k.defaultText(defaultValue); !required && text != "" {
		s["default"] = json.RawMessage(text)
	}
	return s, required
}

func schemaOfValue(k *key, t reflect.Type, defaultValue reflect.Value) (s schema, required bool) {
	switch {
	case t == reflect.TypeFor[Duration]():
		return schema{"type": "string", "pattern": durationPattern}, false
	case t.Kind() == reflect.Pointer:
		return schemaOfValue(k, t.Elem(), reflect.Zero(t.Elem()))
	case t.Kind() == reflect.Struct:
		return schemaOfObject(defaultValue)
	case t.Kind() == reflect.Slice:
		items, _ := schemaOfValue(k, t.Elem(), reflect.Zero(t.Elem()))
		return schema{"type": "array", "items": items}, false
	}
	s = schema{"type": scalars[t.Kind()].schema}
	if k.enum != nil {
		s["enum"] = k.enum
	}
	if k.required && t.Kind() == reflect.String {
		s["minLength"] = 1
	}
	if b := k.bounds; b != nil {
		least := "minimum"
		if b.above {
			least = "exclusiveMinimum"
		}
		s[least] = *b.least
		if b.most != nil {
			s["maximum"] = *b.most
		}
	}
	return s, false
}

// defaultText is the default as JSON; it is empty for an object, whose keys have defaults of their own.
func (k *key) defaultText(value reflect.Value) string {
	switch {
	case value.Kind() == reflect.Struct && value.Type() != reflect.TypeFor[Duration](), value.Kind() == reflect.Pointer:
		return ""
	case value.Kind() == reflect.Slice && value.Len() == 0:
		return "[]"
	}
	text, err := json.Marshal(value.Interface())
	if err != nil {
		panic(fmt.Sprintf("default of the configuration key %s: %v", k.name, err))
	}
	return string(text)
}
