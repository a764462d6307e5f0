package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// parseDocument reads the one YAML document of a file into nodes, which know their lines. Reading nodes follows no
// alias, so the result is no larger than the text.
func parseDocument(data []byte) (*yaml.Node, *Problem) {
	if len(data) > maxFileBytes {
		return nil, &Problem{Line: 1, Message: fmt.Sprintf("must not be larger than %d bytes", maxFileBytes)}
	}
	documents, err := readDocuments(data)
	switch {
	case err != nil:
		return nil, syntaxProblem(data, err)
	case len(documents) == 0 || documents[0].Content[0].ShortTag() == "!!null":
		return nil, &Problem{Line: 1, Message: "the file is empty"}
	case len(documents) > 1:
		line := documents[1].Line
		return nil, &Problem{Line: line, Message: "must be the only YAML document in the file, not one of several"}
	}
	root := documents[0].Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &Problem{Line: root.Line, Message: "must be an object (a YAML mapping)"}
	}
	return root, nil
}

// readDocuments reads no more than two, which is one too many.
func readDocuments(data []byte) ([]yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var documents []yaml.Node
	for len(documents) < 2 {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("invalid YAML: %w", err)
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// inspector looks for what the decoder would pass over in silence, or would fail on without saying where.
type inspector struct {
	problems  []Problem
	decodable bool
}

// inspect reports duplicate keys, aliases, explicit tags, keys that are no strings and numbers that are not finite.
// Only the first leaves something that can be decoded.
//
// Aliases are refused because every pattern of a configuration may begin with "*", and unquoted that makes an alias;
// and because without them a file of bounded size has a content of bounded size.
func inspect(root *yaml.Node) (problems []Problem, decodable bool) {
	i := inspector{decodable: true}
	i.node(root, nil)
	return i.problems, i.decodable
}

func (i *inspector) node(node *yaml.Node, path *field.Path) {
	if node.Style&yaml.TaggedStyle != 0 {
		i.refuse(node.Line, path, "must not have a YAML tag")
		return
	}
	switch node.Kind {
	case yaml.MappingNode:
		i.mapping(node, path)
	case yaml.SequenceNode:
		for index, item := range node.Content {
			i.node(item, path.Index(index))
		}
	case yaml.AliasNode:
		i.refuse(node.Line, path, "must not be an alias"+aliasHint)
	case yaml.ScalarNode:
		var number float64
		if node.ShortTag() == "!!float" && node.Decode(&number) == nil && (math.IsInf(number, 0) || math.IsNaN(number)) {
			i.refuse(node.Line, path, "must be a finite number")
		}
	}
}

func (i *inspector) mapping(node *yaml.Node, path *field.Path) {
	first := make(map[string]int, len(node.Content)/2)
	for k := 0; k < len(node.Content); k += 2 {
		key, value := node.Content[k], node.Content[k+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			i.refuse(key.Line, path, "must have only strings as keys")
			continue
		}
		child := path.Child(key.Value)
		if line, ok := first[key.Value]; ok {
			message := fmt.Sprintf("duplicate key, first set on line %d", line)
			i.problems = append(i.problems, Problem{Line: key.Line, Path: child.String(), Message: message})
		} else {
			first[key.Value] = key.Line
		}
		i.node(value, child)
	}
}

func (i *inspector) refuse(line int, path *field.Path, message string) {
	i.decodable = false
	i.problems = append(i.problems, Problem{Line: line, Path: pathString(path), Message: message})
}

// lineOf returns the line of the key or item at a path, or of the nearest one around it that the file has. Of duplicate
// keys the last counts, as it does for the decoder.
func lineOf(node *yaml.Node, path string) int {
	line := node.Line
	for path != "" {
		var found bool
		if node, line, path, found = step(node, line, path); !found {
			break
		}
	}
	return line
}

// step goes from a node to what the first part of the path names: a key, with the line it is on, or an item.
func step(node *yaml.Node, line int, path string) (next *yaml.Node, at int, rest string, found bool) {
	switch node.Kind {
	case yaml.MappingNode:
		for k := len(node.Content) - 2; k >= 0; k -= 2 {
			if key := node.Content[k]; within(path, key.Value) {
				return node.Content[k+1], key.Line, strings.TrimPrefix(path[len(key.Value):], "."), true
			}
		}
	case yaml.SequenceNode:
		text, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if index, err := strconv.Atoi(text); err == nil && index >= 0 && index < len(node.Content) {
			item := node.Content[index]
			return item, item.Line, strings.TrimPrefix(rest, "."), true
		}
	}
	return node, line, path, false
}

// pathString is empty for the root, which field.Path calls <nil>.
func pathString(path *field.Path) string {
	if path == nil {
		return ""
	}
	return path.String()
}
