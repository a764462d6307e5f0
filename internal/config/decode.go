package config

import (
	"bytes"
	gojson "encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// maxDecodedBytes bounds what decode reads in all its rounds: 100 rounds for a file of 40 KiB, 4 for the largest.
const maxDecodedBytes = 4 << 20

// decode fills a Configuration, over the defaults, as the Kubernetes API machinery does: YAML to JSON, and JSON
// strictly into the type. It reports the keys that the type has not and the values that do not fit; where a value does
// not fit, the default stays.
//
// The JSON decoder tells only the first value that does not fit. So that value is made null, which fits everywhere and
// changes nothing, and the text is decoded again.
func decode(root *yaml.Node, data []byte) (c *Configuration, unknown, mistyped []Problem) {
	text, err := sigsyaml.YAMLToJSON(data)
	if err != nil {
		return Default(), nil, []Problem{{Line: root.Line, Message: err.Error()}}
	}
	for decoded := 0; decoded <= maxDecodedBytes && len(mistyped) < maxProblems; decoded += len(text) {
		c = Default()
		strict, err := json.UnmarshalStrict(text, c)
		if err == nil {
			return c, unknownKeys(root, strict), mistyped
		}
		value, typeErr := locate(text, err)
		if typeErr == nil {
			return c, nil, append(mistyped, Problem{Line: root.Line, Message: err.Error()})
		}
		path := value.path.String()
		mistyped = append(mistyped, Problem{Line: lineOf(root, path), Path: path, Message: typeMessage(typeErr)})
		text = bytes.Join([][]byte{text[:value.start], text[value.end:]}, []byte("null"))
	}
	return c, nil, append(mistyped, Problem{Line: root.Line, Message: "has more values of a wrong type than are listed"})
}

func unknownKeys(root *yaml.Node, strict []error) []Problem {
	problems := make([]Problem, 0, len(strict))
	for _, err := range strict {
		var fieldErr json.FieldError
		if errors.As(err, &fieldErr) {
			path := fieldErr.FieldPath()
			problems = append(problems, Problem{Line: lineOf(root, path), Path: path, Message: "unknown key"})
		}
	}
	return problems
}

// typeMessage says it in YAML's words, where the decoder speaks of Go types.
func typeMessage(err *gojson.UnmarshalTypeError) string {
	want := map[reflect.Kind]string{
		reflect.Struct:  "an object",
		reflect.Slice:   "a list",
		reflect.String:  "a string",
		reflect.Bool:    "a boolean",
		reflect.Int:     "an integer",
		reflect.Int64:   "an integer",
		reflect.Float64: "a number",
	}[err.Type.Kind()]
	kind, literal, _ := strings.Cut(err.Value, " ")
	got := map[string]string{
		"object": "an object",
		"array":  "a list",
		"string": "a string",
		"bool":   "a boolean",
		"number": "a number",
	}[kind]
	if literal != "" {
		got = literal
	}
	return fmt.Sprintf("must be %s, not %s", want, got)
}

// jsonValue is where a value stands in JSON text.
type jsonValue struct {
	path       *field.Path
	start, end int64
}

// locate finds the value that a type error is about; any other error has none. The offset in a type error is that of
// the byte after the value, or, for an object or a list, after the opening bracket: where the tokenizer is once it has
// read the value's first token.
func locate(text []byte, err error) (jsonValue, *gojson.UnmarshalTypeError) {
	var typeErr *gojson.UnmarshalTypeError
	if !errors.As(err, &typeErr) {
		return jsonValue{}, nil
	}
	l := locator{text: text, offset: typeErr.Offset, tokens: gojson.NewDecoder(bytes.NewReader(text))}
	value, found := l.value(nil)
	if !found || value.path == nil {
		return jsonValue{}, nil
	}
	whole := gojson.NewDecoder(bytes.NewReader(text[value.start:]))
	var raw gojson.RawMessage
	if err := whole.Decode(&raw); err != nil {
		return jsonValue{}, nil
	}
	value.end = value.start + whole.InputOffset()
	return value, typeErr
}

type locator struct {
	text   []byte
	offset int64
	tokens *gojson.Decoder
}

// value reads the next value, and stops at the one looked for.
func (l *locator) value(path *field.Path) (jsonValue, bool) {
	start := l.tokens.InputOffset()
	start += int64(len(l.text[start:]) - len(bytes.TrimLeft(l.text[start:], ",:")))
	token, err := l.tokens.Token()
	if err != nil {
		return jsonValue{}, false
	}
	if l.tokens.InputOffset() == l.offset {
		return jsonValue{path: path, start: start}, true
	}
	switch token {
	case gojson.Delim('{'), gojson.Delim('['):
		return l.members(token == gojson.Delim('['), path)
	default:
		return jsonValue{}, false
	}
}

// members reads what is in an object or a list, and its closing bracket.
func (l *locator) members(list bool, path *field.Path) (jsonValue, bool) {
	for index := 0; l.tokens.More(); index++ {
		child := path.Index(index)
		if !list {
			key, err := l.tokens.Token()
			name, ok := key.(string)
			if err != nil || !ok {
				return jsonValue{}, false
			}
			child = path.Child(name)
		}
		if value, found := l.value(child); found {
			return value, true
		}
	}
	_, _ = l.tokens.Token()
	return jsonValue{}, false
}
