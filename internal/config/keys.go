package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// key is one key of an object in the file: a field of a struct, and what its tags say.
type key struct {
	name     string
	index    []int // of the field
	typ      reflect.Type
	doc      string
	cost     string
	example  string
	required bool
	enum     []string
	bounds   *bounds
}

// keysOf lists an object's keys in the order of the struct's fields. The keys of an embedded struct are among them.
func keysOf(object reflect.Type) []key {
	var keys []key
	for _, f := range reflect.VisibleFields(object) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		k := key{
			name: name, index: f.Index, typ: f.Type,
			doc: f.Tag.Get("doc"), cost: f.Tag.Get("cost"), example: f.Tag.Get("example"), required: f.Tag.Get("required") == "true",
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			k.enum = strings.Split(enum, ",")
		}
		if text := f.Tag.Get("bounds"); text != "" {
			k.bounds = parseBounds(text)
		}
		keys = append(keys, k)
	}
	return keys
}

// bounds are those of a number, or of a duration in nanoseconds.
type bounds struct {
	text        string
	least, most *float64
	above       bool // least itself is out of bounds
}

var boundsForm = regexp.MustCompile(`^(from|at least|above) (\S+?)(?: (?:to|and at most) (\S+))?$`)

// parseBounds panics at what is not in the form that the package's comment gives.
func parseBounds(text string) *bounds {
	parts := boundsForm.FindStringSubmatch(text)
	if parts == nil {
		panic(fmt.Sprintf("bounds of a configuration key: %q", text))
	}
	return &bounds{text: text, least: parseBound(parts[2]), most: parseBound(parts[3]), above: parts[1] == "above"}
}

func parseBound(text string) *float64 {
	if text == "" {
		return nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		duration, err := time.ParseDuration(text)
		if err != nil {
			panic(fmt.Sprintf("bound of a configuration key: %q", text))
		}
		number = float64(duration)
	}
	return &number
}

func (b *bounds) hold(number float64) bool {
	return (number > *b.least || number == *b.least && !b.above) && (b.most == nil || number <= *b.most)
}
