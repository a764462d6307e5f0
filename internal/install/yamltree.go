package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// errAliases refuses a file in which a change of one part could change another.
var errAliases = errors.New("it uses an alias (*name): write out what the alias repeats")

// parseTree reads a file of one YAML document as a tree, which keeps comments and the order of keys. It does not keep blank
// lines.
func parseTree(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, fmt.Errorf("line %d: a second YAML document, which kube-apiserver ignores", second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	return &document, nil
}

// parseEditable reads a file that is to be changed.
func parseEditable(text []byte) (*yaml.Node, error) {
	document, err := parseTree(text)
	if err == nil && hasAlias(document) {
		err = errAliases
	}
	return document, err
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// encodeTree writes a tree with the indentation that kubeadm and kubectl use.
func encodeTree(document *yaml.Node) ([]byte, error) {
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return text.Bytes(), encoder.Close()
}

// child is the value of a mapping's key, as a collection of the kind in which each item has its own lines. It is added if it is
// missing or empty; nil if it is something else.
func child(mapping *yaml.Node, name string, kind yaml.Kind) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	mapping.Style &^= yaml.FlowStyle
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if key.Value != name {
			continue
		}
		if len(value.Content) == 0 && (value.Tag == "!!null" || value.Kind == kind) {
			key.LineComment += value.LineComment
			*value = yaml.Node{Kind: kind}
		}
		if value.Kind != kind {
			return nil
		}
		value.Style &^= yaml.FlowStyle
		return value
	}
	value := &yaml.Node{Kind: kind}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
	return value
}

// replacing is a node with the comment above the one whose place it takes.
func replacing(old, by *yaml.Node) *yaml.Node {
	copied := *by
	copied.HeadComment, copied.FootComment = old.HeadComment, old.FootComment
	return &copied
}
