package install

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/jobgate/jobgate/manifests"
)

// What the manifests in the repository show where every cluster may have its own.
const (
	shownImage  = "ghcr.io/jobgate/jobgate:VERSION"
	shownHealth = "127.0.0.1:9444"
)

// Files of DeployDir, called so in the folders of the package manifests, too.
const (
	staticPodFile = "static-pod.yaml"
	configDropIn  = "config.yaml"
)

// substitution is one thing that a manifest shows and that a cluster may have differently.
type substitution struct{ shown, actual string }

// deployFile is a file of the target's folder in the package manifests, with the substitutions made, as one of DeployDir. Each
// substitution must find something to replace: a manifest that no longer shows it is an error, and not a wrong file.
func deployFile(target, name string, substitutions ...substitution) (File, error) {
	return deployAs(target, name, name, substitutions...)
}

// deployAs is deployFile under another name in DeployDir.
func deployAs(target, shown, name string, substitutions ...substitution) (File, error) {
	source := path.Join(target, shown)
	text, err := manifests.Files.ReadFile(source)
	if err != nil {
		return File{}, fmt.Errorf("read manifest %s: %w", source, err)
	}
	pairs := make([]string, 0, 2*len(substitutions))
	for _, s := range substitutions {
		if !strings.Contains(string(text), s.shown) {
			return File{}, fmt.Errorf("manifest %s does not show %q, which is to be replaced in it", source, s.shown)
		}
		pairs = append(pairs, s.shown, s.actual)
	}
	content := strings.NewReplacer(pairs...).Replace(string(text))
	return File{Path: path.Join(DeployDir, name), Content: []byte(content), Mode: 0o644}, nil
}

// nodeDirectory replaces the directory that a manifest shows with the cluster's.
func nodeDirectory(shown string, o Options) (substitution, error) {
	if err := checkPlain("directory on the node", o.NodeDir, "/._-"); err != nil {
		return substitution{}, &optionError{"--node-dir", err}
	}
	return substitution{shown, o.NodeDir}, nil
}

// podSubstitutions are those of every manifest with a pod in it. healthAddress is that of the pod.
func podSubstitutions(shownNodeDir string, o Options, healthAddress string) ([]substitution, error) {
	directory, err := nodeDirectory(shownNodeDir, o)
	if imageErr := checkPlain("image", o.Image, "/._-:@"); imageErr != nil {
		err = errors.Join(err, &optionError{"--image", imageErr})
	}
	host, port, addressErr := probeAddress(healthAddress)
	shownHost, shownPort, _ := net.SplitHostPort(shownHealth)
	if err := errors.Join(err, addressErr); err != nil {
		return nil, err
	}
	return []substitution{
		directory, {shownImage, o.Image},
		{"host: " + shownHost, "host: " + yamlHost(host)}, {"port: " + shownPort, "port: " + port},
	}, nil
}

// probeAddress is where the kubelet finds the health address from the node itself.
func probeAddress(healthAddress string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(DialAddress(healthAddress))
	if err != nil || port == "0" {
		return "", "", &optionError{"--health-address", fmt.Errorf("%q is not host:port with a port above 0, which a probe needs", healthAddress)}
	}
	if err := checkPlain("host", host, ".-:"); err != nil {
		return "", "", &optionError{"--health-address", err}
	}
	return host, port, nil
}

// yamlHost quotes an IPv6 address, which YAML would read as something else.
func yamlHost(host string) string {
	if strings.Contains(host, ":") {
		return `"` + host + `"`
	}
	return host
}

// checkPlain refuses what means something else in YAML, in a shell or to the kubelet, which expands $(NAME).
func checkPlain(what, value, punctuation string) error {
	strange := func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune(punctuation, r)
	}
	if value == "" || strings.ContainsFunc(value, strange) {
		return fmt.Errorf("%s %q must have only letters, digits and %s", what, value, punctuation)
	}
	return nil
}

// staticPods is what the targets with a static pod have in common.
type staticPods struct {
	target string
	folder string // where the kubelet looks for static pods; absolute
	// configFile is the target's other file: what gives kube-apiserver its flags.
	configFile string
}

// files are the static pods and the configuration file with this cluster's values.
func (s staticPods) files(o Options) ([]File, error) {
	all, err := instances(o)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, i := range all {
		substitutions, err := podSubstitutions(DefaultNodeDir, o, i.health)
		if err != nil {
			return nil, err
		}
		substitutions = append(substitutions, podDecisions(o)...)
		substitutions = append(substitutions, substitution{"  name: jobgate\n  namespace:", "  name: jobgate" + i.suffix + "\n  namespace:"})
		if args := i.args(o); len(args) > 0 {
			substitutions = append(substitutions, substitution{"    env:\n", "    - " + strings.Join(args, "\n    - ") + "\n    env:\n"})
		}
		pod, err := deployAs(s.target, staticPodFile, i.manifest(), substitutions...)
		if err != nil {
			return nil, err
		}
		files = append(files, pod)
	}
	directory, err := nodeDirectory(DefaultNodeDir, o)
	if err != nil {
		return nil, err
	}
	config, err := deployFile(s.target, s.configFile, directory)
	if err != nil {
		return nil, err
	}
	return append(files, config), nil
}

// manifest is the file of DeployDir with the instance's static pod.
func (i instance) manifest() string { return "static-pod" + i.suffix + ".yaml" }

// start has the kubelet start jobgate before an API server asks it.
func (s staticPods) start(o Options) (Step, error) {
	all, err := instances(o)
	if err != nil {
		return Step{}, err
	}
	if o.Second {
		return s.startBoth(o, all), nil
	}
	return Step{
		Text: "On every control-plane node: start jobgate as a static pod, and wait until it is ready. If it is not ready after" +
			" two minutes, the command shows the end of its log. No log means that the kubelet could not start it, mostly" +
			" because of the image: see the kubelet's own log.",
		Commands: append(makeDecisions(o, strconv.Itoa(nonRoot)), s.startOne(o, all[0])...),
	}, nil
}

func (s staticPods) startOne(o Options, i instance) []string {
	return []string{
		"install -D -m 0644 " + deployed(o, i.manifest()) + " " + s.running(i),
		waitFor("2m", "curl --silent --fail "+i.ready(), podLog("jobgate"+i.suffix, "jobgate")),
	}
}

// running is where the kubelet finds the static pod.
func (s staticPods) running(i instance) string {
	return path.Join(s.folder, "jobgate"+i.suffix+".yaml")
}

// startBoth does not overwrite a pod that runs: until the kubelet has noticed, the old one would still say that it is ready, and
// both would stop at once.
func (s staticPods) startBoth(o Options, all []instance) Step {
	commands := makeDecisions(o, strconv.Itoa(nonRoot))
	for _, i := range all {
		commands = append(commands, "rm -f "+s.running(i),
			"timeout 2m sh -c 'while curl --silent --output /dev/null "+i.ready()+"; do sleep 1; done'")
		commands = append(commands, s.startOne(o, i)...)
	}
	return Step{
		Text: "On every control-plane node: start two jobgates as static pods, one after the other. One that runs is stopped first," +
			" while the other one answers: repeat this step for every upgrade. If one is not ready after two minutes, the command" +
			" shows the end of its log, and you stop here: the other one goes on. No log means that the kubelet could not start" +
			" it, mostly because of the image: see the kubelet's own log.",
		Commands: commands,
	}
}

// waitFor is a command that repeats another until it succeeds. After the limit it fails, and shows what says why.
func waitFor(limit, command, why string) string {
	return "timeout " + limit + " sh -c 'until " + command + "; do sleep 2; done' || { " + why + "; false; }"
}

// podLog shows the end of a static pod's log, without the API server.
func podLog(pod, container string) string {
	return "tail -n 20 /var/log/pods/kube-system_" + pod + "-*/" + container + "/*.log"
}

// deployed is where a file of DeployDir lies on a node.
func deployed(o Options, name string) string { return path.Join(o.NodeDir, DeployDir, name) }
