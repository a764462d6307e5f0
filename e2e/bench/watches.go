package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	watchCount   = 500
	opening      = 16 // at once: the API server turns a user away who opens too many
	watchTimeout = time.Minute
)

// watches are how many a user holds at once, and what that took.
type watches struct {
	User    string  `json:"user"`
	Held    int     `json:"held"`
	OpenAll float64 `json:"openAllMilliseconds"`
	// LastTold is how long after the request for a change the last of them heard of it.
	LastTold float64 `json:"lastToldMilliseconds"`
}

// measureWatches holds as many watches as each user, one after the other, and changes what they watch.
func (r *report) measureWatches(ctx context.Context, site *sandbox.Sandbox, all ...*user) error {
	admin, err := newAdmin(site)
	if err != nil {
		return err
	}
	defer admin.close()
	for i, u := range all {
		name := fmt.Sprintf("watched-%d", i)
		w, err := u.watch(ctx, name, func() error { return admin.createConfigMap(ctx, name) })
		if err != nil {
			return fmt.Errorf("hold %d watches as the %s: %w", watchCount, u.name, err)
		}
		r.Watches = append(r.Watches, w)
	}
	return nil
}

// watch opens all, makes the change, and waits until every one has told of it.
func (u *user) watch(ctx context.Context, name string, change func() error) (watches, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	told, opened := make(chan time.Time, watchCount), make(chan time.Time, watchCount)
	places := make(chan struct{}, opening)
	var watchers errgroup.Group
	begin := time.Now()
	for range watchCount {
		watchers.Go(func() error {
			places <- struct{}{}
			response, err := u.open(ctx, "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0&fieldSelector=metadata.name="+name, http.StatusOK)
			<-places
			if err != nil {
				cancel()
				return err
			}
			defer response.Body.Close()
			opened <- time.Now()
			var event struct{ Type string }
			if err := json.NewDecoder(response.Body).Decode(&event); err != nil {
				return err
			}
			if event.Type != "ADDED" {
				return fmt.Errorf("a watch says %q", event.Type)
			}
			told <- time.Now()
			return nil
		})
	}
	w := watches{User: u.name, Held: watchCount}
	last, err := lastOf(ctx, opened)
	if err != nil {
		return w, errors.Join(err, watchers.Wait())
	}
	w.OpenAll = float64(last.Sub(begin).Milliseconds())
	begin = time.Now()
	if err := change(); err != nil {
		return w, err
	}
	if last, err = lastOf(ctx, told); err != nil {
		return w, errors.Join(err, watchers.Wait())
	}
	w.LastTold = float64(last.Sub(begin).Milliseconds())
	return w, watchers.Wait()
}

// lastOf waits for all watches.
func lastOf(ctx context.Context, times <-chan time.Time) (last time.Time, err error) {
	for range watchCount {
		select {
		case last = <-times:
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
	return last, nil
}

// newAdmin may do everything.
func newAdmin(site *sandbox.Sandbox) (*user, error) {
	files, err := site.Plane.IssueClient("bench-admin", "system:masters")
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load the client certificate: %w", err)
	}
	u := newUser("administrator", site, "")
	u.client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	return u, nil
}

func (u *user) createConfigMap(ctx context.Context, name string) error {
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q}}`, name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.server+"/api/v1/namespaces/default/configmaps", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := u.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("create ConfigMap %s: %s", name, response.Status)
	}
	return nil
}
