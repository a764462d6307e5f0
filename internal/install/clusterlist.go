package install

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"
)

// item is one of apiServer.extraArgs or apiServer.extraVolumes.
type item struct {
	value map[string]any
	lines []string // as they would be at the margin
}

// ownItems are jobgate's, by the name of their list.
func ownItems(own []byte) (map[string][]item, error) {
	var decoded map[string]any
	if err := kyaml.UnmarshalStrict(own, &decoded); err != nil {
		return nil, err
	}
	server, _ := decoded[serverKey].(map[string]any)
	items := map[string][]item{}
	for _, key := range []string{argsKey, volumesKey} {
		values, err := itemsOf(server, key)
		if err != nil {
			return nil, err
		}
		l, err := parseList(own, serverKey, key)
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			items[key] = append(items[key], item{value: value, lines: l.item(i)})
		}
	}
	return items, nil
}

// itemsOf are the values of a list; none where there is no list.
func itemsOf(server map[string]any, key string) ([]map[string]any, error) {
	if server[key] == nil {
		return nil, nil
	}
	values, ok := server[key].([]any)
	if !ok {
		return nil, fmt.Errorf("%s.%s is no list, as it has to be in %s", serverKey, key, clusterVersion)
	}
	items := make([]map[string]any, 0, len(values))
	for i, value := range values {
		fields, ok := value.(map[string]any)
		if name, _ := fields["name"].(string); !ok || name == "" {
			return nil, fmt.Errorf("%s.%s[%d] has no name", serverKey, key, i)
		}
		items = append(items, fields)
	}
	return items, nil
}

// argName is the flag's name as kube-apiserver understands it, to which an underscore is a dash.
func argName(arg map[string]any) string {
	name, _ := arg["name"].(string)
	return strings.ReplaceAll(name, "_", "-")
}

// What becomes of a present item, if it is not replaced by one of jobgate's.
const (
	stays = -1
	goes  = -2
)

// edit says what becomes of a list.
type edit struct {
	key     string
	present []map[string]any
	own     []item
	fates   []int // of each present item: stays, goes, or the index of the own one that takes its place
	missing []int // own ones that take no item's place
}

func editOf(key string, present []map[string]any, own []item) edit {
	e := edit{key: key, present: present, own: own}
	for _, value := range present {
		fate := fateOf(key, value, own)
		if fate >= 0 && slices.Contains(e.fates, fate) {
			fate = goes // kube-apiserver would take the last one
		}
		e.fates = append(e.fates, fate)
	}
	for i := range own {
		if !slices.Contains(e.fates, i) {
			e.missing = append(e.missing, i)
		}
	}
	return e
}

func fateOf(key string, value map[string]any, own []item) int {
	for i, o := range own {
		switch {
		case key == argsKey && argName(value) == argName(o.value),
			key == volumesKey && (value["name"] == o.value["name"] || value["mountPath"] == o.value["mountPath"]):
			return i
		}
	}
	// With --authorization-config, kube-apiserver does not start with these.
	if name := argName(value); key == argsKey && (name == "authorization-mode" || strings.HasPrefix(name, "authorization-webhook-")) {
		return goes
	}
	return stays
}

// outcome is the list as it becomes.
func (e edit) outcome() []any {
	var list []any
	for i, value := range e.present {
		switch fate := e.fates[i]; {
		case fate >= 0:
			list = append(list, e.own[fate].value)
		case fate == stays:
			list = append(list, value)
		}
	}
	for _, i := range e.missing {
		list = append(list, e.own[i].value)
	}
	return list
}

// apply changes the lines of the list.
func (e edit) apply(text []byte) ([]byte, error) {
	var missing []string
	for _, i := range e.missing {
		missing = append(missing, e.own[i].lines...)
	}
	if len(e.present) == 0 {
		return newList(text, e.key, missing)
	}
	l, err := parseList(text, serverKey, e.key)
	if err != nil {
		return nil, err
	}
	text = l.insert(len(e.present), missing)
	for i, value := range slices.Backward(e.present) {
		switch fate := e.fates[i]; {
		case fate == goes:
			text = l.remove(i)
		case fate >= 0 && !reflect.DeepEqual(value, e.own[fate].value):
			text = l.replace(i, e.own[fate].lines)
		}
	}
	return text, nil
}

// errNotLines follows the name of what YAML also allows to be written otherwise.
var errNotLines = errors.New("must be written as plain lines, for jobgate to be put into it")

// newList puts a list below apiServer, where there is none or an empty one. It makes apiServer, too.
func newList(text []byte, key string, items []string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	root, lines := document.Content[0], splitLines(text)
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return nil, fmt.Errorf("it %w", errNotLines)
	}
	serverName, server := member(root, serverKey)
	name, value := member(server, key)
	var at, indent int // of the first item
	var head []string
	switch {
	case serverName == nil:
		// At the top, where kubeadm itself has it.
		at, indent = root.Content[0].Line-1, root.Column+1
		head = slices.Concat(indented(root.Column-1, serverKey+":\n"), indented(indent, key+":\n"))
	case name != nil:
		at, indent = name.Line, name.Column-1
		if err := clearValue(lines, name, value); err != nil {
			return nil, fmt.Errorf("%s.%s %w", serverKey, key, err)
		}
	case len(server.Content) > 0 && server.Style&yaml.FlowStyle == 0:
		at, indent = serverName.Line, server.Content[0].Column-1
		head = indented(indent, key+":\n")
	default:
		at, indent = serverName.Line, serverName.Column+1
		head = indented(indent, key+":\n")
		if err := clearValue(lines, serverName, server); err != nil {
			return nil, fmt.Errorf("%s %w", serverKey, err)
		}
	}
	return []byte(strings.Join(slices.Insert(lines, at, slices.Concat(head, indented(indent, items...))...), "")), nil
}

// clearValue takes an empty value away: null, [] or {}, which stand behind their key.
func clearValue(lines []string, key, value *yaml.Node) error {
	literal := ""
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		literal = value.Value
	case value.Kind == yaml.SequenceNode && len(value.Content) == 0:
		literal = "[]"
	case value.Kind == yaml.MappingNode && len(value.Content) == 0:
		literal = "{}"
	default:
		return errNotLines
	}
	if literal == "" {
		return nil
	}
	line, from := lines[key.Line-1], value.Column-1
	if value.Line != key.Line || !strings.HasPrefix(line[min(from, len(line)):], literal) {
		return errNotLines
	}
	lines[key.Line-1] = strings.TrimRight(line[:from], " ") + line[from+len(literal):]
	return nil
}
