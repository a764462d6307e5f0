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

// clusterDocument is a ClusterConfiguration as it is written, and as kubeadm reads it.
type clusterDocument struct {
	text    []byte
	tree    *yaml.Node
	decoded map[string]any
}

// clusterItem is one of apiServer.extraArgs or apiServer.extraVolumes.
type clusterItem struct {
	node  *yaml.Node
	value map[string]any
}

func readClusterText(text []byte) (*clusterDocument, error) {
	c := &clusterDocument{text: text}
	var err error
	if err = kyaml.UnmarshalStrict(text, &c.decoded); err == nil {
		c.tree, err = parseEditable(text)
	}
	if err != nil {
		return nil, fmt.Errorf("not a %s: %w", clusterKind, err)
	}
	return c, nil
}

// items are those of a list, which is made if there is none.
func (c *clusterDocument) items(key string) ([]clusterItem, error) {
	list := c.list(key)
	server, _ := c.decoded[serverKey].(map[string]any)
	values, _ := server[key].([]any)
	if list == nil || len(list.Content) != len(values) {
		return nil, fmt.Errorf("%s.%s is not a list, which %s requires", serverKey, key, clusterVersion)
	}
	items := make([]clusterItem, 0, len(values))
	for i, node := range list.Content {
		value, _ := values[i].(map[string]any)
		if name, _ := value["name"].(string); name == "" {
			return nil, fmt.Errorf("%s.%s[%d] has no name", serverKey, key, i)
		}
		items = append(items, clusterItem{node, value})
	}
	return items, nil
}

func (c *clusterDocument) list(key string) *yaml.Node {
	return child(child(c.tree.Content[0], serverKey, yaml.MappingNode), key, yaml.SequenceNode)
}

// set replaces the items of a list.
func (c *clusterDocument) set(key string, items []clusterItem) {
	server, _ := c.decoded[serverKey].(map[string]any)
	if server == nil {
		server = map[string]any{}
		c.decoded[serverKey] = server
	}
	list, values := c.list(key), []any{}
	list.Content = nil
	for _, i := range items {
		list.Content = append(list.Content, i.node)
		values = append(values, i.value)
	}
	server[key] = values
}

// encode writes the document, and makes sure that kubeadm reads from it what it should.
func (c *clusterDocument) encode() ([]byte, error) {
	text, err := encodeTree(c.tree)
	if err != nil {
		return nil, err
	}
	var got map[string]any
	if err := kyaml.UnmarshalStrict(text, &got); err != nil {
		return nil, fmt.Errorf("jobgate cannot be put into it: %w", err)
	}
	if !reflect.DeepEqual(got, c.decoded) {
		return nil, errors.New("jobgate cannot be put into it without changing something else")
	}
	return text, nil
}

// flag is the name of the flag that an argument is for. kube-apiserver reads an underscore as a dash.
func (i clusterItem) flag() string {
	name, _ := i.value["name"].(string)
	return strings.ReplaceAll(name, "_", "-")
}

func (i clusterItem) equal(other clusterItem) bool { return reflect.DeepEqual(i.value, other.value) }

// mergeItems is a list with jobgate's items in it. The comment above an item that goes is then above the next one.
func mergeItems(key string, present, own []clusterItem) []clusterItem {
	var merged []clusterItem
	comment := ""
	add := func(item clusterItem) {
		if comment != "" {
			item.node.HeadComment = strings.TrimSpace(comment + "\n" + item.node.HeadComment)
		}
		merged, comment = append(merged, item), ""
	}
	placed := make([]bool, len(own))
	for _, item := range present {
		i := slices.IndexFunc(own, func(o clusterItem) bool { return sameItem(key, item, o) })
		switch {
		case i >= 0 && placed[i], // of two, kube-apiserver would take the last one
			i < 0 && key == argsKey && excludesAuthorizationConfig(item.flag()):
			comment = item.node.HeadComment
			continue
		case i >= 0 && !item.equal(own[i]):
			item = clusterItem{replacing(item.node, own[i].node), own[i].value}
		}
		if i >= 0 {
			placed[i] = true
		}
		add(item)
	}
	for i, item := range own {
		if !placed[i] {
			add(item)
		}
	}
	return merged
}

// sameItem says that two items are for the same flag, volume or folder.
func sameItem(key string, a, b clusterItem) bool {
	if key == argsKey {
		return a.flag() == b.flag()
	}
	return a.value["name"] == b.value["name"] || a.value["mountPath"] == b.value["mountPath"]
}

// excludesAuthorizationConfig says that kube-apiserver does not start with a flag and --authorization-config.
func excludesAuthorizationConfig(flag string) bool {
	return flag == modeFlag || strings.HasPrefix(flag, "authorization-webhook-")
}
