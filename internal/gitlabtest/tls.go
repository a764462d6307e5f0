package gitlabtest

import (
	"crypto/tls"

	"github.com/jobgate/jobgate/internal/pkitest"
)

// newCertificate makes a certificate for loopback, and the CA of this server alone that has issued it.
func newCertificate() (certificate tls.Certificate, ca []byte, err error) {
	authority, err := pkitest.NewAuthority("gitlabtest CA")
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	certificate, err = authority.Server("localhost")
	return certificate, authority.PEM(), err
}
