package install_test

import (
	"bytes"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install"
)

func systemdOptions(t *testing.T) install.Options {
	t.Helper()
	o := defaults(t, "systemd")
	o.Binary, o.Program = "/usr/local/bin/jobgate", "/usr/local/bin/jobgate"
	return o
}

// unitOf is the unit as systemd reads it: the values of each directive, by section and name.
func unitOf(t *testing.T, o install.Options) map[string][]string {
	t.Helper()
	for _, f := range deploy(t, o).Files {
		if path.Base(f.Path) != "jobgate.service" {
			continue
		}
		options, err := unit.DeserializeOptions(bytes.NewReader(f.Content))
		must(t, err)
		values := map[string][]string{}
		for _, option := range options {
			key := option.Section + "." + option.Name
			values[key] = append(values[key], option.Value)
		}
		return values
	}
	t.Fatal("there is no unit")
	return nil
}

// documented are systemd's directives with the types of their values, by section and name.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/systemd-252-directives.txt")
	must(t, err)
	types, section := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, kind, ok := strings.Cut(line, "="); ok && section != "" {
			types[section+"."+name] = kind
		} else if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		}
	}
	return types
}

func TestSystemd_EveryDirectiveIsSystemds(t *testing.T) {
	valid := map[string]*regexp.Regexp{
		"BOOLEAN":               regexp.MustCompile(`^(yes|no)$`),
		"SECONDS":               regexp.MustCompile(`^(0|[1-9][0-9]*s)$`),
		"LIMIT":                 regexp.MustCompile(`^[0-9]+[KMG]?$`),
		"MODE":                  regexp.MustCompile(`^0[0-7]{3}$`),
		"PATH [...]":            regexp.MustCompile(`^/[^ ]+$`),
		"PATH [ARGUMENT [...]]": regexp.MustCompile(`^/[^ %$;"'\\]+( [^ %$;"'\\]+)*$`),
		"UNIT [...]":            regexp.MustCompile(`^[a-z-]+\.(target|service)( [a-z-]+\.(target|service))*$`),
		"URL":                   regexp.MustCompile(`^https://`),
		"OOMSCOREADJUST":        regexp.MustCompile(`^-[0-9]{1,3}$`),
		"FAMILIES":              regexp.MustCompile(`^AF_[A-Z0-9]+( AF_[A-Z0-9]+)*$`),
		"SYSCALLS":              regexp.MustCompile(`^@[a-z-]+$`),
		"ERRNO":                 regexp.MustCompile(`^E[A-Z]+$`),
		"SERVICETYPE":           regexp.MustCompile(`^exec$`),
		"SERVICERESTART":        regexp.MustCompile(`^always$`),
		"STRING":                regexp.MustCompile(`^.+$`),
		"BOUNDINGSET":           regexp.MustCompile(`^$`),
		"NAMESPACES":            regexp.MustCompile(`^yes$`),
		"OTHER":                 regexp.MustCompile(`^[^%]*$`),
		"ENVIRON":               regexp.MustCompile(`^[A-Z]+=[^ ]+$`),
		"ARCHS":                 regexp.MustCompile(`^native$`),
	}
	types := documented(t)
	if len(types) < 300 {
		t.Fatalf("systemd has more than %d directives", len(types))
	}
	for key, values := range unitOf(t, systemdOptions(t)) {
		kind, ok := types[key]
		if !ok {
			t.Errorf("systemd has no %s", key)
			continue
		}
		for _, value := range values {
			if pattern, ok := valid[kind]; !ok || !pattern.MatchString(value) {
				t.Errorf("%s=%s is not of systemd's type %s", key, value, kind)
			}
		}
		if len(values) > 1 {
			t.Errorf("%s is there %d times", key, len(values))
		}
	}
}

func TestSystemd_TheServiceIsConfined(t *testing.T) {
	values := unitOf(t, systemdOptions(t))
	for key, want := range map[string]string{
		"User": "jobgate", "Group": "jobgate", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "",
		"ProtectSystem": "strict", "ReadWritePaths": "/etc/kubernetes/jobgate/pki", "ProtectHome": "yes", "PrivateTmp": "yes",
		"PrivateDevices": "yes", "ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes",
		"ProtectControlGroups": "yes", "ProtectClock": "yes", "ProtectHostname": "yes", "ProtectProc": "invisible", "ProcSubset": "pid",
		"RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes", "RestrictRealtime": "yes",
		"RestrictSUIDSGID": "yes", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "SystemCallFilter": "@system-service",
		"SystemCallArchitectures": "native", "UMask": "0077", "LimitCORE": "0", "MemoryMax": "256M", "Restart": "always", "RestartSec": "5s",
	} {
		if got := values["Service."+key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

func TestSystemd_TheServiceStartsJobgateInItsFolder(t *testing.T) {
	o := systemdOptions(t)
	o.NodeDir, o.Binary = "/opt/gate", "/opt/bin/jobgate-1.2"
	values := unitOf(t, o)
	want := append([]string{o.Binary}, install.ServeArgs(o.NodeDir)...)
	if diff := cmp.Diff(want, strings.Fields(values["Service.ExecStart"][0])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := values["Service.ReadWritePaths"][0]; got != "/opt/gate/pki" {
		t.Errorf("it may write to %s", got)
	}
}

func TestSystemd_WithTheDefaultsTheFilesAreThoseOfTheRepository(t *testing.T) {
	for _, f := range deploy(t, systemdOptions(t)).Files {
		want, err := os.ReadFile(path.Join("../../manifests/systemd", path.Base(f.Path)))
		must(t, err)
		if diff := cmp.Diff(string(want), string(f.Content)); diff != "" {
			t.Errorf("%s (-repository +got):\n%s", f.Path, diff)
		}
	}
}

// The user that sysusers makes is whom init gives the keys to.
func TestSystemd_TheUserHasTheNumberOfTheKeys(t *testing.T) {
	target := lookup(t, "systemd")
	text, err := os.ReadFile("../../manifests/systemd/jobgate.sysusers.conf")
	must(t, err)
	line := regexp.MustCompile(`(?m)^u (\S+) (\d+) "[^"]+" - -$`).FindStringSubmatch(string(text))
	if len(line) != 3 || line[1] != target.User || line[2] != "65532" { // which the keys belong to in TestApply_KeysBelongToWhomJobgateRunsAs
		t.Errorf("sysusers says %q, the target %+v", line, target)
	}
}

func TestSystemd_StepsNameOnlyFilesThatThereAre(t *testing.T) {
	o := systemdOptions(t)
	d := deploy(t, o)
	known := []string{path.Join(o.NodeDir, "pki"), path.Join(o.NodeDir, "config.yaml")}
	for _, f := range d.Files {
		known = append(known, path.Join(o.NodeDir, f.Path))
	}
	for _, step := range d.Steps {
		for _, command := range step.Commands {
			for _, word := range strings.Fields(command) {
				if strings.HasPrefix(word, o.NodeDir) && !slices.Contains(known, word) {
					t.Errorf("%s: there is no %s", command, word)
				}
			}
		}
	}
}

func TestSystemd_TheProgramIsPutInItsPlace(t *testing.T) {
	o := systemdOptions(t)
	elsewhere := len(deploy(t, o).Steps) + 1
	o.Program = "/root/my programs/jobgate"
	steps := deploy(t, o).Steps
	if len(steps) != elsewhere || steps[0].Commands[0] != "install -D -m 0755 '/root/my programs/jobgate' /usr/local/bin/jobgate" {
		t.Errorf("the first of %d steps is %+v", len(steps), steps[0])
	}
}
