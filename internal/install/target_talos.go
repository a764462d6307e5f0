package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/certs"
)

// talosNodeDir is below /var, the only place where Talos lets a machine configuration create files.
const talosNodeDir = "/var/lib/jobgate"

// patchFile is a patch of Talos' machine configuration. It holds keys.
const patchFile = "patch.yaml"

// Where the generated parts of the patch begin. Each reaches to the next mark, or to the end of the file.
const (
	talosFilesBegin       = "  files:\n"
	talosFilesEnd         = "  # jobgate beside the kube-apiserver"
	talosAuthorizersBegin = "    authorizationConfig:\n"
)

// ErrNoPKI says that a target carries certificates that are not issued yet.
var ErrNoPKI = errors.New("the certificates are not issued yet")

// talosMode is the mode of a file that Talos writes at boot, owned by root. The patch has all files but the
// AuthorizationConfiguration, which Talos makes, and the CA's key, which no node needs.
//
// kube-apiserver runs as user and group 65534, so every user can read its files. A Talos node has no users: this means pods that
// mount the node's folders. With client.pem they could ask jobgate, but not answer for it. Answering needs serving.pem, which
// only root's group can read; jobgate's pod has that group as a supplemental one.
func talosMode(name string) fs.FileMode {
	if name == path.Join(PKIDir, certs.ServingFile) {
		return 0o440
	}
	return 0o444
}

// talos puts everything into a patch of the machine configuration: files, jobgate as a static pod, and kube-apiserver's flags and
// mount. Three of the four flags are arguments. Talos sets --authorization-config itself, for a file that it makes from a list
// of authorizers. It needs Talos 1.9, and from 1.14 on a machine configuration with .cluster.apiServer, because the documents
// that replace that cannot mount a folder (siderolabs/talos#14394).
func talos(o Options) (Deployment, error) {
	substitutions, err := podSubstitutions(talosNodeDir, o, o.HealthAddress)
	if err != nil {
		return Deployment{}, err
	}
	patch, err := deployFile("talos", patchFile, substitutions...)
	if err != nil {
		return Deployment{}, err
	}
	common, err := Common(o)
	if err != nil {
		return Deployment{}, err
	}
	files, err := talosFileList(o, common)
	if err != nil {
		return Deployment{}, err
	}
	authorizers, err := talosAuthorizers(common)
	if err != nil {
		return Deployment{}, err
	}
	text := string(patch.Content)
	if text, err = replacePart(text, talosFilesBegin, talosFilesEnd, files); err != nil {
		return Deployment{}, err
	}
	if text, err = replacePart(text, talosAuthorizersBegin, "", authorizers); err != nil {
		return Deployment{}, err
	}
	patch.Content, patch.Mode = []byte(text), 0o600
	return Deployment{Files: []File{patch}, Steps: talosSteps(o)}, nil
}

// replacePart replaces the text between two marks, which stay. An empty end is the end of the text.
func replacePart(text, begin, end, part string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	if !found {
		return "", fmt.Errorf("manifest talos/%s has no line %q", patchFile, strings.TrimSpace(begin))
	}
	after := ""
	if end != "" {
		i := strings.Index(rest, end)
		if i < 0 {
			return "", fmt.Errorf("manifest talos/%s has no line %q", patchFile, strings.TrimSpace(end))
		}
		after = rest[i:]
	}
	return before + begin + part + after, nil
}

// talosFileList is the list machine.files.
func talosFileList(o Options, common []File) (string, error) {
	files := slices.DeleteFunc(slices.Clone(common), func(f File) bool { return f.Path == AuthorizationFile })
	for _, name := range []string{certs.CAFile, certs.ServingFile, certs.ClientFile} {
		if len(o.PKI[name]) == 0 {
			return "", fmt.Errorf("the patch for Talos carries %s: %w", path.Join(PKIDir, name), ErrNoPKI)
		}
		files = append(files, File{Path: path.Join(PKIDir, name), Content: o.PKI[name]})
	}
	var list strings.Builder
	for _, f := range files {
		content, err := blockScalar(f.Content, "      ")
		if err != nil {
			return "", fmt.Errorf("put %s into the patch for Talos: %w", f.Path, err)
		}
		fmt.Fprintf(&list, "  - path: %s\n    op: create\n    permissions: 0o%o\n    content: %s",
			path.Join(o.NodeDir, f.Path), talosMode(f.Path), content)
	}
	return list.String(), nil
}

// blockScalar is text as YAML writes it line by line, which a person can compare with the file, or otherwise on one line. Text
// that YAML cannot hold is an error, since the file on the node would differ.
func blockScalar(text []byte, indent string) (string, error) {
	var lines strings.Builder
	lines.WriteString("|\n")
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSpace(line)) > 0 {
			lines.WriteString(indent)
		}
		lines.Write(line)
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return "", err
	}
	for _, scalar := range []string{lines.String(), string(quoted) + "\n"} {
		var decoded struct{ Content string }
		err := yaml.Unmarshal([]byte("content: "+scalar), &decoded)
		if err == nil && decoded.Content == string(text) && strings.HasSuffix(scalar, "\n") {
			return scalar, nil
		}
	}
	return "", errors.New("it is not text")
}

// talosAuthorizers is the list cluster.apiServer.authorizationConfig, with exactly the authorizers of authorization.yaml.
// Talos knows type, name and webhook, as Kubernetes does.
func talosAuthorizers(common []File) (string, error) {
	i := slices.IndexFunc(common, func(f File) bool { return f.Path == AuthorizationFile })
	if i < 0 {
		return "", fmt.Errorf("the patch for Talos carries the authorizers of %s, which is not there", AuthorizationFile)
	}
	var typed apiserverv1.AuthorizationConfiguration
	if err := kyaml.UnmarshalStrict(common[i].Content, &typed); err != nil {
		return "", fmt.Errorf("decode %s: %w", AuthorizationFile, err)
	}
	if err := checkForTalos(typed.Authorizers); err != nil {
		return "", fmt.Errorf("%s does not suit Talos: %w", AuthorizationFile, err)
	}
	// Written as it was read, since the type would add fields that are empty.
	var plain struct {
		Authorizers []map[string]any `json:"authorizers"`
	}
	if err := kyaml.Unmarshal(common[i].Content, &plain); err != nil {
		return "", fmt.Errorf("decode %s: %w", AuthorizationFile, err)
	}
	text, err := kyaml.Marshal(plain.Authorizers)
	if err != nil {
		return "", fmt.Errorf("encode the authorizers: %w", err)
	}
	return indentLines(string(text), "    "), nil
}

// checkForTalos makes sure that Talos accepts the list, and that jobgate is asked: Talos adds a missing RBAC as the second
// authorizer, and kube-apiserver does not ask jobgate about what RBAC has allowed.
func checkForTalos(authorizers []apiserverv1.AuthorizerConfiguration) error {
	types := []string{"Node", "RBAC", "Webhook"}
	jobgate, rbac := -1, -1
	for i, a := range authorizers {
		switch {
		case !slices.Contains(types, a.Type):
			return fmt.Errorf("authorizer %s has type %s, and Talos knows only %s", a.Name, a.Type, strings.Join(types, ", "))
		case a.Name == authorizerName:
			jobgate = i
		case a.Type == "RBAC":
			rbac = i
		}
	}
	if jobgate < 0 || rbac < jobgate {
		return fmt.Errorf("it has to list %s and, after it, an authorizer of type RBAC: Talos would put one that is missing"+
			" before %s, which then could deny nothing", authorizerName, authorizerName)
	}
	return nil
}

func indentLines(text, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(indent + line)
	}
	return b.String()
}

// talosSteps are for the machine where init ran, since Talos' nodes have no shell.
func talosSteps(o Options) []Step {
	before, after := talosPath(o, "machine-$NODE.yaml"), talosPath(o, "machine-$NODE-jobgate.yaml")
	steps := []Step{{
		Text: "For one control-plane node after the other: get its machine configuration without jobgate, from where you keep it" +
			" or, the first time, from the node. Keep it: every later patch starts from it.",
		Commands: []string{
			"NODE=192.0.2.10   # the node's address",
			`(umask 077 && talosctl --nodes="$NODE" get machineconfig v1alpha1 --output=jsonpath='{.spec}' > ` + before + ")",
		},
	}}
	if len(o.Authorizers) > 0 {
		steps = append(steps, Step{
			Text: "Remove cluster.apiServer.authorizationConfig from it. The patch has those authorizers, and Talos would append" +
				" its list to the present one.",
			Commands: []string{`"${EDITOR:-vi}" ` + before},
		})
	}
	return append(steps, Step{
		Text: "Patch and check it, and apply it. The node restarts, since Talos writes files at boot.",
		Commands: []string{
			"(umask 077 && talosctl machineconfig patch " + before + " --patch=@" + talosPath(o, path.Join(DeployDir, patchFile)) +
				" --output=" + after + ")",
			"talosctl validate --mode=metal --config=" + after,
			`talosctl --nodes="$NODE" apply-config --file=` + after,
		},
	}, Step{
		Text: "Wait until jobgate is ready on the node before you turn to the next.",
		Commands: []string{
			waitFor("10m", "kubectl --namespace=kube-system wait pod --selector=app.kubernetes.io/name=jobgate"+
				" --for=condition=Ready --timeout=5m", "kubectl --namespace=kube-system logs --selector=app.kubernetes.io/name=jobgate --tail=20"),
		},
	}, Step{
		Text: "Note when the certificates end: on Talos jobgate does not renew them. Before that, renew them here, run init again," +
			" and patch and apply as above, from the machine configuration without jobgate.",
		Commands: []string{
			shellQuote(o.Program) + " certs show --pki=" + talosPath(o, PKIDir),
			shellQuote(o.Program) + " certs renew --force --pki=" + talosPath(o, PKIDir) + "   # later, not now",
		},
	})
}

// talosPath is a file of the directory that init writes, for a shell, which is to replace $NODE in its name.
func talosPath(o Options, name string) string {
	if checkPlain("folder", o.Dir, "/._-") == nil {
		return `"` + path.Join(o.Dir, name) + `"`
	}
	return shellQuote(o.Dir) + `"/` + name + `"`
}
