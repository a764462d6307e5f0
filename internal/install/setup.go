package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// Setup brings a directory to what its options say.
type Setup struct {
	Options Options
	// Hosts are further names and addresses in the serving certificate.
	Hosts []string
	// Policy is for files that were changed by hand.
	Policy conffile.Policy
	// Notes say what was found on this machine, one sentence or two each.
	Notes []string

	target Target
}

// Work is what is to be done.
type Work struct {
	*Plan
	// FirstStep is the number of the first step: 1 is the target's own, whose texts name others by their numbers.
	FirstStep    int
	Directory    *conffile.Plan
	Certificates []certs.Change
}

// Plan says what Apply would do, and writes nothing. It finds everything that is wrong with the options or with the files.
func (s *Setup) Plan() (*Work, error) {
	w, err := s.files()
	if err != nil {
		return nil, err
	}
	if w.Certificates, err = s.pki().Plan(s.request()); err != nil {
		return nil, fmt.Errorf("look at the certificates: %w", err)
	}
	return w, nil
}

// Apply does what has to be done. If there are conflicts it does nothing.
func (s *Setup) Apply() (*Work, error) {
	w, err := s.Plan()
	if err != nil || len(w.Directory.Clashes()) > 0 {
		return w, err
	}
	// The PKI would make it with a mode that keeps other users out.
	if err := w.Directory.MakeDir(); err != nil {
		return nil, err
	}
	issued, err := s.pki().Issue(s.request())
	if err != nil {
		return nil, fmt.Errorf("issue certificates: %w", err)
	}
	// Again, for targets whose files contain certificates.
	if w, err = s.files(); err != nil {
		return nil, err
	}
	w.Certificates = issued
	if err := w.Directory.Apply(); err != nil {
		return nil, err
	}
	if _, err := config.Load(filepath.Join(s.Options.Dir, ConfigFile)); err != nil {
		return nil, fmt.Errorf("jobgate serve would not accept the configuration that is there now\n%w", err)
	}
	return w, nil
}

// files compares the files that should be there with those that are, without the certificates.
func (s *Setup) files() (*Work, error) {
	o := s.Options
	if s.target.CarriesKeys {
		var err error
		if o.PKI, err = s.readPKI(); err != nil {
			return nil, err
		}
	}
	plan, err := New(o)
	if err != nil {
		return nil, err
	}
	before := s.stepsBefore()
	plan.Steps = slices.Concat(before, plan.Steps, s.stepsAfter())
	files := make([]conffile.File, 0, len(plan.Files))
	for _, f := range plan.Files {
		file := conffile.File{Path: f.Path, Content: f.Content, Mode: f.Mode, Secret: f.Mode&0o077 == 0}
		switch f.Path {
		case ConfigFile:
			file.Check = func(text []byte) error { _, err := config.Parse(ConfigFile, text); return err }
		case AuthorizationFile:
			file.Check = CheckAuthorizers
			file.Objection = func(current []byte) string { return lossOfAuthorizers(current, f.Content) }
		case path.Join(DeployDir, kubeadmConfigFile):
			file.Objection = func(current []byte) string { return lossOfCluster(current, f.Content) }
		}
		files = append(files, file)
	}
	directory, err := conffile.NewPlan(o.Dir, files, s.Policy)
	if err != nil {
		return nil, err
	}
	return &Work{Plan: plan, FirstStep: 1 - len(before), Directory: directory}, nil
}

// lossOfCluster objects to a file without the cluster's configuration: an earlier init told the admin to give it to kubeadm.
func lossOfCluster(before, after []byte) string {
	_, beforeErr := readClusterConfiguration(before)
	_, afterErr := readClusterConfiguration(after)
	if beforeErr != nil || afterErr == nil {
		return ""
	}
	return "it has the cluster's configuration, which would be lost: run init on a control-plane node, or add " + clusterFlag
}

func lossOfAuthorizers(before, after []byte) string {
	lost := LostAuthorizers(before, after)
	if len(lost) == 0 {
		return ""
	}
	return "it has authorizers that would be lost (" + strings.Join(lost, ", ") + "): give the cluster's own with " + authorizersFlag
}

func (s *Setup) pki() *certs.PKI { return certs.OpenPKI(filepath.Join(s.Options.Dir, PKIDir)) }

// notIssued is in the place of a certificate in a plan.
const notIssued = "# not issued yet\n"

// pkiFiles are what a node needs of the PKI.
func pkiFiles() []string { return []string{certs.CAFile, certs.ServingFile, certs.ClientFile} }

// readPKI reads what a node needs of the PKI.
func (s *Setup) readPKI() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range pkiFiles() {
		content, err := os.ReadFile(filepath.Join(s.Options.Dir, PKIDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			content, err = []byte(notIssued), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the certificates: %w", err)
		}
		files[name] = content
	}
	return files, nil
}

func (s *Setup) request() certs.Request {
	r := certs.Request{Hosts: s.Hosts, ClientName: clientName}
	if s.onNode() && os.Geteuid() == 0 {
		uid, gid := s.owner()
		r.UID, r.GID = &uid, &gid
	}
	return r
}

// onNode says that init writes the directory where jobgate will read it.
func (s *Setup) onNode() bool { return s.Options.Dir == s.Options.NodeDir && s.target.Dir == "" }

// owner is the user and group that jobgate runs as on this machine.
func (s *Setup) owner() (uid, gid int) {
	if s.target.User == "" {
		return nonRoot, nonRoot
	}
	known, err := user.Lookup(s.target.User)
	if err != nil {
		return nonRoot, nonRoot // not created yet
	}
	uid, uidErr := strconv.Atoi(known.Uid)
	gid, gidErr := strconv.Atoi(known.Gid)
	if uidErr != nil || gidErr != nil {
		return nonRoot, nonRoot // not a system that targets run on
	}
	return uid, gid
}
