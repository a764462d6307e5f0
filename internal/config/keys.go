package config

import (
	"reflect"
	"strings"
)

// key is one key of an object in the file: a field of a struct.
type key struct {
	name  string
	field reflect.StructField
}

// keysOf lists an object's keys in the order of the struct's fields. The keys of an embedded struct are among them.
func keysOf(object reflect.Type) []key {
	var keys []key
	for _, f := range reflect.VisibleFields(object) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			keys = append(keys, key{name: name, field: f})
		}
	}
	return keys
}
