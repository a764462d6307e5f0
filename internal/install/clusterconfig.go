package install

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kyaml "sigs.k8s.io/yaml"
)

// The ClusterConfiguration that jobgate can be put into. In older versions extraArgs is a map, and kubeadm itself turns
// those into this one: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/.
const (
	clusterGroup   = "kubeadm.k8s.io/"
	clusterVersion = clusterGroup + "v1beta4"
	clusterKind    = "ClusterConfiguration"
)

// leastKubernetes is the first with AuthorizationConfiguration as apiserver.config.k8s.io/v1.
const leastKubernetes = "1.32"

// The lists of a ClusterConfiguration that jobgate has items in; both are apiServer's.
const (
	serverKey  = "apiServer"
	argsKey    = "extraArgs"
	volumesKey = "extraVolumes"
)

// ClusterConfigurationError says why kubeadm's ClusterConfiguration cannot be used.
type ClusterConfigurationError struct{ Err error }

func (e *ClusterConfigurationError) Error() string { return e.Err.Error() }

func (e *ClusterConfigurationError) Unwrap() error { return e.Err }

// Why jobgate cannot be put into a ClusterConfiguration.
var (
	errOtherWebhook    = errors.New("that is another authentication webhook, and kube-apiserver can have only one")
	errLostAuthorizers = errors.New("those authorizers would be lost: give them with " + authorizersFlag)
	errOldVersion      = errors.New("and jobgate can be put into " + clusterVersion + " alone")
)

// MergeClusterConfiguration puts jobgate, as own has it, into a cluster's ClusterConfiguration, as the ConfigMap
// kubeadm-config holds it: each item of own's apiServer.extraArgs and apiServer.extraVolumes replaces the one for the same
// flag, volume or folder, or follows the others. It removes flags that kube-apiserver does not start with beside
// --authorization-config. Everything else keeps its meaning, order and comments. Merging twice changes nothing.
//
// Other YAML documents in the file are left out: the ConfigMap has none, and the InitConfiguration that kubeadm config
// migrate writes along with it holds a bootstrap token.
//
// authorizersGiven says that own's authorizers include those of the cluster. If not, and it has more than kubeadm's own,
// that is an error, as is another authentication webhook. Errors are of type *ClusterConfigurationError.
func MergeClusterConfiguration(existing, own []byte, authorizersGiven bool) ([]byte, error) {
	merged, err := mergeClusterConfiguration(existing, own, authorizersGiven)
	if err != nil {
		return nil, &ClusterConfigurationError{err}
	}
	return merged, nil
}

func mergeClusterConfiguration(existing, own []byte, authorizersGiven bool) ([]byte, error) {
	theirs, err := readClusterConfiguration(existing)
	if err != nil {
		return nil, err
	}
	ours, err := readClusterText(own)
	if err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	changed := false
	for _, key := range []string{argsKey, volumesKey} {
		ownItems, err := ours.items(key)
		if err != nil {
			return nil, err
		}
		present, err := theirs.items(key)
		if err != nil {
			return nil, err
		}
		if key == argsKey {
			if err := checkArgs(present, ownItems, authorizersGiven); err != nil {
				return nil, err
			}
		}
		if merged := mergeItems(key, present, ownItems); !slices.EqualFunc(merged, present, clusterItem.equal) {
			theirs.set(key, merged)
			changed = true
		}
	}
	if !changed {
		return theirs.text, nil
	}
	return theirs.encode()
}

// readClusterConfiguration finds the one ClusterConfiguration in a file, and checks that jobgate can be put into it.
func readClusterConfiguration(file []byte) (*clusterDocument, error) {
	var text []byte
	var kinds []string
	var versionErr error
	all, err := documents(file)
	if err != nil {
		return nil, fmt.Errorf("not a %s: %w", clusterKind, err)
	}
	for _, document := range all {
		var head struct{ APIVersion, Kind string }
		if err := kyaml.Unmarshal(document, &head); err != nil {
			return nil, fmt.Errorf("not a %s: %w", clusterKind, err)
		}
		switch {
		case head.Kind == clusterKind && strings.HasPrefix(head.APIVersion, clusterGroup) && text != nil:
			return nil, fmt.Errorf("it has two documents of kind %s", clusterKind)
		case head.Kind == clusterKind && strings.HasPrefix(head.APIVersion, clusterGroup):
			text, versionErr = document, checkClusterVersion(head.APIVersion)
		case head.Kind != "":
			kinds = append(kinds, head.Kind)
		}
	}
	switch {
	case text == nil:
		return nil, fmt.Errorf("it has no %s, but %s; to export the cluster's:\n%s",
			clusterKind, cmp.Or(strings.Join(kinds, ", "), "nothing"), ExportClusterConfiguration())
	case versionErr != nil:
		return nil, versionErr
	}
	c, err := readClusterText(text)
	if err != nil {
		return nil, err
	}
	return c, checkKubernetes(c.decoded)
}

// documents are the YAML documents in a file, as kubeadm finds them.
func documents(file []byte) ([][]byte, error) {
	var all [][]byte
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, document)
	}
}

func checkClusterVersion(apiVersion string) error {
	switch apiVersion {
	case clusterVersion:
		return nil
	case clusterGroup + "v1beta1", clusterGroup + "v1beta2", clusterGroup + "v1beta3":
		return fmt.Errorf("it is %s, %w", apiVersion, errOldVersion)
	}
	return fmt.Errorf("it is %s, and this jobgate can be put into %s alone", apiVersion, clusterVersion)
}

// checkKubernetes requires a version, which the present configuration of a cluster has: without one, kubeadm would take the
// latest.
func checkKubernetes(decoded map[string]any) error {
	text, _ := decoded["kubernetesVersion"].(string)
	if text == "" {
		return fmt.Errorf("it has no kubernetesVersion, so it is not what the cluster has; to export that:\n%s",
			ExportClusterConfiguration())
	}
	// kubeadm itself resolves names such as ci/latest.
	if v, err := version.ParseGeneric(text); err == nil && v.LessThan(version.MustParseGeneric(leastKubernetes)) {
		return fmt.Errorf("the cluster has Kubernetes %s, and jobgate needs %s or later", text, leastKubernetes)
	}
	return nil
}

// checkArgs refuses another authentication webhook, and authorizers that would be lost.
func checkArgs(present, own []clusterItem, authorizersGiven bool) error {
	var problems []error
	for _, arg := range present {
		name, value := arg.flag(), fmt.Sprint(arg.value["value"])
		same := slices.ContainsFunc(own, func(o clusterItem) bool { return o.flag() == name && o.value["value"] == arg.value["value"] })
		var problem error
		switch {
		case name == WebhookFileFlag && !same:
			problem = errOtherWebhook
		case authorizersGiven || same:
		case name == AuthorizersFlag, name == modeFlag && !onlyDefaultModes(value):
			problem = errLostAuthorizers
		}
		if problem != nil {
			problems = append(problems, fmt.Errorf("%s.%s has %s=%s: %w", serverKey, argsKey, name, value, problem))
		}
	}
	return errors.Join(problems...)
}

// onlyDefaultModes says that the authorizers are kubeadm's own, which init writes in any case.
func onlyDefaultModes(modes string) bool {
	for mode := range strings.SplitSeq(modes, ",") {
		if mode != "Node" && mode != "RBAC" {
			return false
		}
	}
	return true
}
