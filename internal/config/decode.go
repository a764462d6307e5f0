package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// decoder reads the nodes of a file into Go values. A mistake leaves the value as it was, and reading goes on, so that
// one pass finds all of them.
//
// It follows no alias. Every pattern of a configuration may begin with "*", which makes an alias if it is not quoted; and
// without aliases a file of bounded size has a content of bounded size.
type decoder struct {
	problems []Problem
	// lines has the line of every key and list item that was read, by its path. Of duplicate keys the last counts.
	lines map[string]int
	// unread has the paths of the values that were not read, and around the paths of what they are in.
	unread, around map[string]bool
}

// decode reads a whole file into the value that a pointer points to.
func decode(root *yaml.Node, into any) *decoder {
	d := &decoder{lines: map[string]int{"": root.Line}, unread: map[string]bool{}, around: map[string]bool{}}
	d.value(root, nil, reflect.ValueOf(into).Elem())
	return d
}

func (d *decoder) value(node *yaml.Node, path *field.Path, into reflect.Value) {
	switch {
	case node.Style&yaml.TaggedStyle != 0:
		d.refuse(path, "must not have a YAML tag")
	case node.Kind == yaml.AliasNode:
		d.refuse(path, "must not be an alias"+aliasHint)
	case node.ShortTag() == "!!null":
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(node, path, into.Elem())
	case into.Type() == reflect.TypeFor[Duration]():
		d.duration(node, path, into)
	case into.Kind() == reflect.Struct:
		d.object(node, path, into)
	case into.Kind() == reflect.Slice:
		d.list(node, path, into)
	default:
		d.scalar(node, path, into)
	}
}

func (d *decoder) object(node *yaml.Node, path *field.Path, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.mistyped(node, path, "an object")
		return
	}
	known := keysOf(into.Type())
	first := make(map[string]int, len(node.Content)/2)
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.ShortTag() != "!!str" {
			d.report(name.Line, path, "must have only strings as keys")
			continue
		}
		child := path.Child(name.Value)
		if line, twice := first[name.Value]; twice {
			d.report(name.Line, child, fmt.Sprintf("duplicate key, first set on line %d", line))
		} else {
			first[name.Value] = name.Line
		}
		at := slices.IndexFunc(known, func(k key) bool { return k.name == name.Value })
		if at < 0 {
			d.report(name.Line, child, "unknown key")
			continue
		}
		d.lines[child.String()] = name.Line
		d.value(value, child, into.FieldByIndex(known[at].index))
	}
}

func (d *decoder) list(node *yaml.Node, path *field.Path, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.mistyped(node, path, "a list")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		child := path.Index(i)
		d.lines[child.String()] = item.Line
		d.value(item, child, into.Index(i))
	}
}

func (d *decoder) duration(node *yaml.Node, path *field.Path, into reflect.Value) {
	const want = "a duration, such as 10s or 2m30s"
	parsed, err := time.ParseDuration(node.Value)
	switch {
	case node.ShortTag() != "!!str":
		d.mistyped(node, path, want)
	case err != nil:
		d.refuse(path, fmt.Sprintf("must be %s, not %q", want, node.Value))
	default:
		into.Set(reflect.ValueOf(Duration{Duration: parsed}))
	}
}

// scalars are what a file calls a Go value, what YAML calls the text that may stand for it, and its type in JSON Schema.
var scalars = map[reflect.Kind]struct {
	name   string
	tags   []string
	schema string
}{
	reflect.String:  {name: "a string", tags: []string{"!!str", "!!timestamp"}, schema: "string"},
	reflect.Bool:    {name: "true or false", tags: []string{"!!bool"}, schema: "boolean"},
	reflect.Int:     {name: "an integer", tags: []string{"!!int"}, schema: "integer"},
	reflect.Int64:   {name: "an integer", tags: []string{"!!int"}, schema: "integer"},
	reflect.Float64: {name: "a number", tags: []string{"!!int", "!!float"}, schema: "number"},
}

func (d *decoder) scalar(node *yaml.Node, path *field.Path, into reflect.Value) {
	kind, ok := scalars[into.Kind()]
	if !ok {
		panic(fmt.Sprintf("%s: a configuration cannot hold a %s", pathString(path), into.Type()))
	}
	value := reflect.New(into.Type())
	if !slices.Contains(kind.tags, node.ShortTag()) || node.Decode(value.Interface()) != nil || !isFinite(value.Elem()) {
		d.mistyped(node, path, kind.name)
		return
	}
	into.Set(value.Elem())
}

func isFinite(number reflect.Value) bool {
	return !number.CanFloat() || !(math.IsInf(number.Float(), 0) || math.IsNaN(number.Float()))
}

// mistyped repeats a number, but no text: that could be a secret in the wrong place.
func (d *decoder) mistyped(node *yaml.Node, path *field.Path, want string) {
	got := node.Value
	switch {
	case node.Kind == yaml.MappingNode:
		got = "an object"
	case node.Kind == yaml.SequenceNode:
		got = "a list"
	case node.ShortTag() == "!!str":
		got = "a string"
	case want == "a string":
		got += ": put it in quotes"
	}
	d.refuse(path, fmt.Sprintf("must be %s, not %s", want, got))
}

// refuse reports a value that is not read.
func (d *decoder) refuse(path *field.Path, message string) {
	d.report(d.lines[pathString(path)], path, message)
	d.forget(pathString(path))
}

func (d *decoder) report(line int, path *field.Path, message string) {
	d.problems = append(d.problems, Problem{Line: line, Path: pathString(path), Message: message})
}

// forget marks a value as one that says nothing about what the file says.
func (d *decoder) forget(path string) {
	d.unread[path] = true
	for path != "" {
		path = parent(path)
		d.around[path] = true
	}
}

// wasRead says that neither the value at a path, nor one in it or around it, was left unread.
func (d *decoder) wasRead(path string) bool {
	if d.around[path] {
		return false
	}
	for path != "" && !d.unread[path] {
		path = parent(path)
	}
	return !d.unread[path]
}

// line is where the key or item at a path is, or the nearest one around it that the file has.
func (d *decoder) line(path string) int {
	for {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = parent(path)
	}
}

// parent is the path of what holds a key or an item; it is empty for the file.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// pathString is empty for the file, which field.Path calls <nil>.
func pathString(path *field.Path) string {
	if path == nil {
		return ""
	}
	return path.String()
}
