package gitlabtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// remoteTimeout bounds one exchange with the remote control, and all tries of an update.
	remoteTimeout = 30 * time.Second
	// maxRemoteReply bounds what is read of one answer; 10,000 requests with their headers fit into it.
	maxRemoteReply = 256 << 20
)

// Remote is a fake in another process, with the methods of Server. Its methods may be called concurrently.
type Remote struct {
	url    string
	client *http.Client
}

// Dial returns the Remote at a control URL (Server.ServeControl, or gitlabd's --control). It does not connect.
func Dial(controlURL string) *Remote {
	return &Remote{
		url:    strings.TrimSuffix(controlURL, "/"),
		client: &http.Client{Transport: &http.Transport{}, Timeout: remoteTimeout},
	}
}

// Close gives up idle connections. It does not end the other process.
func (r *Remote) Close() { r.client.CloseIdleConnections() }

// URL is where the instance is.
func (r *Remote) URL() (string, error) {
	info, err := r.info()
	return info.URL, err
}

// CACertPEM is the CA of a server with TLS, or nil.
func (r *Remote) CACertPEM() ([]byte, error) {
	info, err := r.info()
	if err != nil || info.CACertificate == "" {
		return nil, err
	}
	return []byte(info.CACertificate), nil
}

func (r *Remote) info() (serverInfo, error) {
	var info serverInfo
	return info, r.getJSON("/server", &info)
}

// Update reads the Instance, changes it and puts it back, anew with another Instance if someone else was faster: change may
// run several times. It fails as Server.Update does.
func (r *Remote) Update(change func(*Instance)) error {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = 2*time.Millisecond, 100*time.Millisecond
	_, err := backoff.Retry(context.Background(), func() (struct{}, error) {
		err := r.tryUpdate(change)
		if err != nil && !hasStatus(err, http.StatusPreconditionFailed) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pace), backoff.WithMaxElapsedTime(remoteTimeout))
	return err
}

func (r *Remote) tryUpdate(change func(*Instance)) error {
	instance, etag, err := r.instance()
	if err != nil {
		return err
	}
	change(&instance)
	body, err := json.Marshal(instance)
	if err != nil {
		return fmt.Errorf("writing the instance: %w", err)
	}
	_, _, err = r.do(http.MethodPut, "/world", body, http.Header{"If-Match": {etag}})
	return err
}

// Instance is a copy of the present state, with everything filled in.
func (r *Remote) Instance() (Instance, error) {
	instance, _, err := r.instance()
	return instance, err
}

func (r *Remote) instance() (Instance, string, error) {
	body, header, err := r.do(http.MethodGet, "/world", nil, nil)
	if err != nil {
		return Instance{}, "", err
	}
	var instance Instance
	if err := json.Unmarshal(body, &instance); err != nil {
		return Instance{}, "", fmt.Errorf("reading the instance: %w", err)
	}
	return instance, header.Get("ETag"), nil
}

// Fault adds faults behind those that are there. On an error the earlier ones of the list may have been added.
func (r *Remote) Fault(faults ...Fault) error {
	for i, f := range faults {
		body, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("writing fault %d: %w", i, err)
		}
		if _, _, err := r.do(http.MethodPost, "/faults", body, nil); err != nil {
			return fmt.Errorf("adding fault %d: %w", i, err)
		}
	}
	return nil
}

// ClearFaults ends all faults.
func (r *Remote) ClearFaults() error {
	_, _, err := r.do(http.MethodDelete, "/faults", nil, nil)
	return err
}

// Calls is how many requests the endpoint has had, or all of them for AnyEndpoint.
func (r *Remote) Calls(endpoint string) (int, error) {
	var count callCount
	err := r.getJSON("/calls?"+url.Values{"endpoint": {endpoint}}.Encode(), &count)
	return count.Calls, err
}

// Requests are the endpoint's requests as Server.Requests has them.
func (r *Remote) Requests(endpoint string) ([]Request, error) {
	var requests []Request
	err := r.getJSON("/requests?"+url.Values{"endpoint": {endpoint}}.Encode(), &requests)
	return requests, err
}

// ResetCalls forgets all requests and counts.
func (r *Remote) ResetCalls() error {
	_, _, err := r.do(http.MethodDelete, "/calls", nil, nil)
	return err
}

// Kubeconfig is the KUBECONFIG of the job with the cluster at tunnelURL. The error is ErrNoKubeconfig or ErrNoJob as
// for Server.Kubeconfig.
func (r *Remote) Kubeconfig(jobID int64, tunnelURL string) ([]byte, error) {
	query := url.Values{"job": {strconv.FormatInt(jobID, 10)}, "url": {tunnelURL}}
	file, _, err := r.do(http.MethodGet, "/kubeconfig?"+query.Encode(), nil, nil)
	switch {
	case hasStatus(err, http.StatusConflict):
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoKubeconfig)
	case hasStatus(err, http.StatusNotFound):
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoJob)
	}
	return file, err
}

func (r *Remote) getJSON(target string, into any) error {
	body, _, err := r.do(http.MethodGet, target, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

func (r *Remote) do(method, target string, body []byte, header http.Header) ([]byte, http.Header, error) {
	request, err := http.NewRequest(method, r.url+target, bytes.NewReader(body)) // the client has a timeout
	if err != nil {
		return nil, nil, fmt.Errorf("asking the remote control: %w", err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the remote control: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxRemoteReply))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the remote control's answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		var refusal controlError
		_ = json.Unmarshal(answer, &refusal) // a refusal without text still has its status
		return nil, nil, &refusedError{status: response.StatusCode, text: refusal.Error}
	}
	return answer, response.Header, nil
}

// refusedError is a refusal by the remote control.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the remote control refused (%d): %s", e.status, e.text)
}

func hasStatus(err error, status int) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.status == status
}
