package certs

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/jobgate/jobgate/internal/file"
)

// Defaults and bounds of a Request.
const (
	DefaultClientName = "kube-apiserver"
	DefaultLifetime   = 365 * 24 * time.Hour
	DefaultCALifetime = 10 * DefaultLifetime
	minLifetime       = time.Minute
	maxCALifetime     = 50 * DefaultLifetime
	// maxHosts and maxName bound a certificate's size; a common name has at most 64 characters (RFC 5280, appendix A.1).
	maxHosts = 100
	maxName  = 64
)

// servingName is the common name of the serving certificate. Clients ignore it: they look at the hosts.
const servingName = "jobgate"

// ErrRequest is in the chain of the error for a Request that cannot be fulfilled.
var ErrRequest = errors.New("cannot be issued")

// Request is what a PKI has to provide.
type Request struct {
	Hosts      []string      // DNS names and IP addresses for the serving certificate besides 127.0.0.1, ::1 and localhost
	ClientName string        // common name of the API server's client certificate; "kube-apiserver" when empty
	Lifetime   time.Duration // of leaf certificates, whole seconds from a minute on; 0: 1 year, or as they are
	CALifetime time.Duration // of a CA that is made, twice Lifetime at least; 0: 10 years
	UID, GID   *int          // owner of what is written; nil: the process's own (an existing file keeps its owner)
}

// Plan says what Issue would do; it writes nothing.
func (p *PKI) Plan(r Request) ([]Change, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	made, err := p.plan(r.next)
	return changes(made), err
}

// Issue makes what is missing, and reissues certificates that do not fit the request: those with other names, another
// lifetime (if the request gives one), another issuer or an end that is near, and those that cannot be read. It replaces the
// CA only if that has expired; RotateCA replaces one that works. A second Issue does nothing. With an error it returns what
// it changed before.
func (p *PKI) Issue(r Request) ([]Change, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	// The directory has to be there for its lock.
	made, err := p.carryOut(r.directory)
	if err != nil {
		return changes(made), err
	}
	err = p.exclusively(func() error {
		more, err := p.carryOut(r.next)
		made = append(made, more...)
		return err
	})
	return changes(made), err
}

// check says what is wrong with a request.
func (r *Request) check() error {
	if len(r.Hosts) > maxHosts {
		return fmt.Errorf("a serving certificate for %d hosts %w: at most %d", len(r.Hosts), ErrRequest, maxHosts)
	}
	for _, host := range r.Hosts {
		name := strings.TrimPrefix(host, "*.")
		if net.ParseIP(host) == nil && len(validation.IsDNS1123Subdomain(strings.ToLower(name))) > 0 {
			return fmt.Errorf("a serving certificate for %q %w: it is neither a DNS name nor an IP address", host, ErrRequest)
		}
	}
	if len(r.ClientName) > maxName || strings.TrimSpace(r.ClientName) != r.ClientName {
		return fmt.Errorf("a client certificate for %q %w: a name has 1 to %d characters, and no blanks around it",
			r.ClientName, ErrRequest, maxName)
	}
	leaf, ca := r.lifetime(), cmp.Or(r.CALifetime, DefaultCALifetime)
	switch {
	case leaf < minLifetime || leaf%time.Second != 0 || ca%time.Second != 0:
		return fmt.Errorf("a certificate for %s %w: lifetimes are whole seconds, %s at least", leaf, ErrRequest, minLifetime)
	case ca < 2*leaf:
		return fmt.Errorf("a certificate for %s %w by a CA for %s: the CA has to live twice as long, to be replaced in time",
			leaf, ErrRequest, ca)
	case ca > maxCALifetime:
		return fmt.Errorf("a CA for %s %w: at most %s", ca, ErrRequest, maxCALifetime)
	}
	return nil
}

func (r *Request) lifetime() time.Duration { return cmp.Or(r.Lifetime, DefaultLifetime) }

// next is the next write that is due: the directory, the CA, the certificates, then their attributes.
func (r *Request) next(s *state) (*write, error) {
	for _, step := range []decide{r.directory, r.authority, r.bundle, r.serving, r.client, r.expired, r.attributes} {
		if w, err := step(s); w != nil || err != nil {
			if w != nil {
				w.owner = r.owner()
			}
			return w, err
		}
	}
	return nil, nil
}

func (r *Request) owner() file.Owner {
	o := anyone()
	if r.UID != nil {
		o.UID, o.Required = *r.UID, true
	}
	if r.GID != nil {
		o.GID, o.Required = *r.GID, true
	}
	return o
}

func (r *Request) directory(s *state) (*write, error) {
	if _, ok := s.files["."]; ok {
		return nil, nil
	}
	return &write{
		Change: Change{".", whyMissing}, kind: makeDirectory, mode: modeDirectory, owner: r.owner(),
	}, nil
}

// authority makes a CA if there is none, or if it has expired. A missing key alone is no reason: it may be kept elsewhere on
// purpose.
func (r *Request) authority(s *state) (*write, error) {
	var why string
	switch {
	case s.signing == nil && len(s.bundle) == 0:
		why = whyMissing
	case s.signing != nil && s.expired(s.signing.certificate) && !s.takenOver():
		why = "its CA expired on " + stamp(s.signing.certificate.NotAfter)
	default:
		return nil, nil
	}
	ca, err := newAuthority(s.now, cmp.Or(r.CALifetime, DefaultCALifetime))
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	if s.signing != nil {
		ca.term = term{Since: s.now, Replaces: fingerprint(s.signing.certificate)}
	}
	return writeAuthority(SigningFile, ca, why)
}

// bundle puts the CA into the bundle, if an interrupted Issue has left it out.
func (r *Request) bundle(s *state) (*write, error) {
	if s.signing == nil || s.trusts(s.signing.certificate) {
		return nil, nil
	}
	why := "the CA " + name(s.signing.certificate) + " is not in it"
	if len(s.bundle) == 0 {
		why = whyMissing
	}
	return writeBundle(append(slices.Clip(s.bundle), s.signing.certificate), term{}, why)
}

func (r *Request) serving(s *state) (*write, error) {
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: servingName},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip == nil {
			template.DNSNames = append(template.DNSNames, strings.ToLower(host))
		} else {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	slices.Sort(template.DNSNames)
	template.DNSNames = slices.Compact(template.DNSNames)
	slices.SortFunc(template.IPAddresses, func(a, b net.IP) int { return slices.Compare(a.To16(), b.To16()) })
	template.IPAddresses = slices.CompactFunc(template.IPAddresses, net.IP.Equal)
	return r.leaf(s, ServingFile, template)
}

func (r *Request) client(s *state) (*write, error) {
	return r.leaf(s, ClientFile, x509.Certificate{
		Subject:     pkix.Name{CommonName: cmp.Or(r.ClientName, DefaultClientName)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// leaf makes a leaf certificate that is missing or does not fit.
func (r *Request) leaf(s *state, file string, template x509.Certificate) (*write, error) {
	leaf, err := s.leaf(file)
	var why string
	life := r.lifetime()
	switch {
	case missing(err):
		why = whyMissing
	case err != nil:
		why = "it cannot be used: " + err.Error()
	case s.signing == nil:
		// The CA's key is kept elsewhere, so only the names can be compared.
		why = misfit(leaf, &template)
	default:
		if why = r.misfit(s, leaf, &template); r.Lifetime == 0 && s.own(leaf) {
			life = lifetime(leaf)
		}
	}
	if why == "" {
		return nil, nil
	}
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("issue %s (%s): %w", s.path(file), why, err)
	}
	return s.issue(file, template, life, why)
}

// misfit is why a leaf certificate has to be issued again; empty when it fits.
func (r *Request) misfit(s *state, leaf, template *x509.Certificate) string {
	if why := misfit(leaf, template); why != "" {
		return why
	}
	if !s.own(leaf) {
		return foreign(leaf)
	}
	if why := s.due(leaf); why != "" {
		return why
	}
	endsWithCA := !leaf.NotAfter.Before(s.signer().certificate.NotAfter)
	if r.Lifetime != 0 && r.Lifetime != lifetime(leaf) && !endsWithCA {
		return fmt.Sprintf("its lifetime is %s, not %s", lifetime(leaf), r.Lifetime)
	}
	return ""
}

// misfit is how a certificate differs from the template; empty when it does not.
func misfit(leaf, template *x509.Certificate) string {
	has, wants := names(leaf), names(template)
	slices.Sort(has)
	slices.Sort(wants)
	if !slices.Equal(has, wants) {
		return fmt.Sprintf("it is for %s, not for %s", strings.Join(names(leaf), ", "), strings.Join(names(template), ", "))
	}
	if !slices.Equal(leaf.ExtKeyUsage, template.ExtKeyUsage) {
		return "it is for another use"
	}
	return ""
}

// expired takes a CA out of the bundle that has expired and been replaced.
func (r *Request) expired(s *state) (*write, error) {
	if s.signing == nil {
		return nil, nil
	}
	if old := s.replaced(); old == nil || !s.expired(old) {
		return nil, nil
	}
	return s.advance()
}

// attributes gives the files to the owner that was asked for, and closes keys to others.
func (r *Request) attributes(s *state) (*write, error) {
	for _, name := range append(fileNames(), ".") {
		f, ok := s.files[name]
		if !ok {
			continue
		}
		if wanted := r.owner().Or(f.owner); wanted.UID != f.owner.UID || wanted.GID != f.owner.GID {
			return &write{
				Change: Change{name, fmt.Sprintf("its owner is %s, not %s", f.owner, wanted)}, kind: changeAttributes, mode: f.mode,
			}, nil
		}
		if problem := kindOf(name).Problem(s.path(name), f.mode); problem != "" && slices.Contains(leafFiles(), name) {
			return &write{Change: Change{name, problem}, kind: changeAttributes, mode: kindOf(name).Fix(f.mode)}, nil
		}
	}
	return nil, nil
}
