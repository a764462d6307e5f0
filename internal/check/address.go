package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/install"
)

// maxAnswer bounds what is read of jobgate's answers, in bytes.
const maxAnswer = 64 << 10

// A certificate that was renewed just now is shown about a second later, so another one is no fault before takeoverTime is over.
const (
	takeoverTime = 5 * time.Second
	pollTime     = 200 * time.Millisecond
)

const doStart = "start jobgate; if it runs, its log says why it is not ready"

// checkAddress looks whether jobgate listens, with the certificate of the configuration, and whether it is ready.
func (e *examination) checkAddress(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "jobgate"}
	if e.config == nil {
		return f.NotChecked(whyNoConfig)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	address := install.DialAddress(e.config.Serving.Address)
	var problem string
	err := wait.PollUntilContextTimeout(ctx, pollTime, takeoverTime, true, func(ctx context.Context) (bool, error) {
		shown, err := certificateOf(ctx, address)
		if err == nil {
			problem = e.otherCertificate(shown)
		}
		return problem == "", err
	})
	if err != nil && problem == "" {
		return f.Failed(fmt.Sprintf("nothing answers with TLS on %s: %v", address, err), doStart)
	}
	if problem != "" {
		return f.Failed(fmt.Sprintf("on %s %s", address, problem),
			"look which program listens there (ss -ltnp); restart jobgate if it is jobgate")
	}
	health := install.DialAddress(e.config.Serving.HealthAddress)
	if err := isReady(ctx, health); err != nil {
		return f.Failed(fmt.Sprintf("it is not ready: %v", err), doStart)
	}
	if second, err := e.checkSecond(ctx); err != nil {
		return f.Warned(fmt.Sprintf("one is ready (%s), and serving.reusePort is for two, but the second one is not ready: %v", health, err),
			"start the second one with serve --health-address="+second+", or remove serving.reusePort")
	} else if second != "" {
		health += " and " + second
	}
	return f.Well(fmt.Sprintf("it listens on %s with its certificate, and is ready (%s)", address, health))
}

// checkSecond looks for the instance that init would have put beside the first; the address is empty if there is to be none.
func (e *examination) checkSecond(ctx context.Context) (address string, err error) {
	if !e.config.Serving.ReusePort {
		return "", nil
	}
	if address, err = install.SecondHealthAddress(e.config.Serving.HealthAddress); err != nil {
		return "", err
	}
	address = install.DialAddress(address)
	return address, isReady(ctx, address)
}

// certificateOf is the certificate that a server shows, unverified: otherCertificate compares it, and nothing is said before that.
func certificateOf(ctx context.Context, address string) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // see above
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil // TLS demands one of a server
}

// otherCertificate says which certificate a server shows if it is not that of the configuration.
func (e *examination) otherCertificate(shown *x509.Certificate) string {
	own, err := tls.LoadX509KeyPair(e.config.Serving.CertFile, e.config.Serving.KeyFile)
	if err != nil {
		return "the certificate cannot be compared: " + err.Error()
	}
	if !shown.Equal(own.Leaf) {
		return "another certificate is shown than that of " + e.config.Serving.CertFile
	}
	return ""
}

func isReady(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{} // without a proxy
	defer transport.CloseIdleConnections()
	return wantOK(transport.RoundTrip, request)
}

// wantOK sends a request. The error of another status than 200 has the answer's text.
func wantOK(send func(*http.Request) (*http.Response, error), request *http.Request) error {
	response, err := send(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", request.URL, response.Status, text)
	}
	return nil
}
