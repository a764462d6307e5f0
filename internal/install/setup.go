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

// Plan says what Apply would do, and writes nothing. Whatever is wrong with the options, or with what is there, is found
// here.
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

// Apply does what has to be done, unless somebody's changes are in the way: then nothing.
func (s *Setup) Apply() (*Work, error) {
	w, err := s.Plan()
	if err != nil || len(w.Directory.Clashes()) > 0 {
		return w, err
	}
	// Before the PKI would, which is not for everybody to enter.
	if err := w.Directory.MakeDir(); err != nil {
		return nil, err
	}
	issued, err := s.pki().Issue(s.request())
	if err != nil {
		return nil, fmt.Errorf("issue certificates: %w", err)
	}
	// Again, for the targets whose files have certificates in them.
	if w, err = s.files(); err != nil {
		return nil, err
	}
	w.Certificates = issued
	if err := w.Directory.Apply(); err != nil {
		return nil, err
	}
	if _, err := config.Load(filepath.Join(s.Options.Dir, ConfigFile)); err != nil {
		return nil, fmt.Errorf("what is there now is not a configuration that jobgate serve accepts\n%w", err)
	}
	return w, nil
}

// files compares what should be there with what is, certificates aside.
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

// lossOfCluster is about whoever would give kubeadm the file again, as an earlier init told them.
func lossOfCluster(before, after []byte) string {
	if !LosesClusterConfiguration(before, after) {
		return ""
	}
	return "it has the cluster's configuration, which would go: give the present one with --cluster-configuration"
}

func lossOfAuthorizers(before, after []byte) string {
	lost := LostAuthorizers(before, after)
	if len(lost) == 0 {
		return ""
	}
	return "it has authorizers that would go (" + strings.Join(lost, ", ") + "): give the cluster's own with --authorization-config"
}

func (s *Setup) pki() *certs.PKI { return certs.OpenPKI(filepath.Join(s.Options.Dir, PKIDir)) }

// notIssued stands for a certificate in what is only planned.
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
	r := certs.Request{Hosts: s.Hosts, ClientName: ClientName}
	if s.onNode() && os.Geteuid() == 0 {
		uid, gid := s.owner()
		r.UID, r.GID = &uid, &gid
	}
	return r
}

// onNode says that the directory is written where jobgate will read it.
func (s *Setup) onNode() bool { return s.Options.Dir == s.Options.NodeDir && s.target.Dir == "" }

// owner is whom jobgate runs as on this machine.
func (s *Setup) owner() (uid, gid int) {
	if s.target.User == "" {
		return s.target.UID, s.target.GID
	}
	known, err := user.Lookup(s.target.User)
	if err != nil {
		return s.target.UID, s.target.GID // not made yet
	}
	uid, uidErr := strconv.Atoi(known.Uid)
	gid, gidErr := strconv.Atoi(known.Gid)
	if uidErr != nil || gidErr != nil {
		return s.target.UID, s.target.GID // no system that targets run on
	}
	return uid, gid
}
