package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"

	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/install"
)

// maxAnswer bounds what is read of jobgate's answers, in bytes.
const maxAnswer = 64 << 10

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
	// The certificate is compared with the file below, and nothing is said before that.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // otherCertificate decides
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return f.Failed(fmt.Sprintf("nothing answers with TLS on %s: %v", address, err), doStart)
	}
	state := connection.(*tls.Conn).ConnectionState()
	connection.Close()
	if problem := e.otherCertificate(state); problem != "" {
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

// otherCertificate says which certificate a server shows if it is not that of the configuration.
func (e *examination) otherCertificate(state tls.ConnectionState) string {
	own, err := tls.LoadX509KeyPair(e.config.Serving.CertFile, e.config.Serving.KeyFile)
	if err != nil {
		return "the certificate cannot be compared: " + err.Error()
	}
	if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(own.Leaf) {
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
