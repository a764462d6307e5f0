package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/eventually"
)

func TestRotateCA_SaysHowFarItHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		before := snap(t, p)
		if r := must[certs.Rotation](t)(p.Rotation()); r.Stage != certs.Idle || r.From != before.leaf(t, certs.SigningFile).Subject.CommonName {
			t.Errorf("before: %+v", r)
		}
		start := time.Now()
		steps := []struct {
			at    time.Duration
			stage certs.Stage
			until time.Duration
			files []string
		}{
			{at: 0, stage: certs.Announced, until: 30 * day, files: rotationWrites[:2]},
			{at: 29 * day, stage: certs.Announced, until: 30 * day, files: nil},
			{at: 31 * day, stage: certs.TakenOver, until: 61 * day, files: rotationWrites[2:6]},
			{at: 60 * day, stage: certs.TakenOver, until: 61 * day, files: nil},
			{at: 62 * day, stage: certs.Idle, until: 0, files: rotationWrites[6:]},
		}
		for _, step := range steps {
			time.Sleep(time.Until(start.Add(step.at)))
			r := must[certs.Rotation](t)(p.RotateCA(nil))
			if r.AtOnce {
				t.Errorf("after %s, it says that API servers had no time", step.at)
			}
			var files []string
			for _, c := range r.Changes {
				files = append(files, c.File)
			}
			if diff := cmp.Diff(step.files, files); diff != "" {
				t.Errorf("after %s, changed files (-want +got):\n%s", step.at, diff)
			}
			if until := r.Until.Sub(start); r.Stage != step.stage || (r.Stage != certs.Idle && until != step.until) {
				t.Errorf("after %s: %+v", step.at, r)
			}
			told := must[certs.Rotation](t)(p.Rotation())
			if r.Found, r.Ended, r.AtOnce, r.Changes = "", "", false, nil; !cmp.Equal(r, told) {
				t.Errorf("after %s, Rotation says something else: %+v", step.at, told)
			}
		}
		checkReplaced(t, before, snap(t, p))
	})
}

func TestRotateCA_Overlap(t *testing.T) {
	rows := []struct {
		name string
		age  time.Duration // of a CA that lives for 10 years
		ask  *time.Duration
		want time.Duration
		err  error
	}{
		{name: "by itself", want: 30 * day},
		{name: "by itself, 20 days before the end", age: 10*year - 20*day, want: 10 * day},
		{name: "asked for", ask: new(day), want: day},
		{name: "half of what is left", age: 8 * year, ask: new(year), want: year},
		{name: "longer than that", age: 8 * year, ask: new(year + day), err: certs.ErrOverlap},
		{name: "negative", ask: new(-day), err: certs.ErrOverlap},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{})
				time.Sleep(row.age)
				r, err := p.RotateCA(row.ask)
				if !errors.Is(err, row.err) || (err == nil && (r.Overlap != row.want || r.Stage != certs.Announced)) {
					t.Errorf("%+v, %v; want an overlap of %s", r, err, row.want)
				}
			})
		})
	}
}

func TestRotateCA_AtOnce(t *testing.T) {
	rows := []struct {
		name    string
		overlap *time.Duration
		age     time.Duration
	}{
		{name: "without overlap", overlap: new(time.Duration)},
		{name: "CA has expired", age: 11 * year},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{})
				before := snap(t, p)
				time.Sleep(row.age)
				if r := must[certs.Rotation](t)(p.RotateCA(row.overlap)); r.Stage != certs.Idle || len(r.Changes) != len(rotationWrites) {
					t.Errorf("%+v", r)
				}
				after := snap(t, p)
				checkReplaced(t, before, after)
				if err := handshake(t, first(after.bothEnds(t)), second(after.bothEnds(t))); err != nil {
					t.Errorf("the two ends do not connect: %v", err)
				}
			})
		})
	}
}

// A key was stolen while a rotation is under way: an overlap of 0 does not wait for the rest of it.
func TestRotateCA_AtOnceWhileARotationIsUnderWay(t *testing.T) {
	rows := []struct {
		name  string
		until certs.Stage   // how far the rotation has come
		steps int           // and how many writes of the next stage a killed process has made
		age   time.Duration // of the rotation
	}{
		{name: "just announced", until: certs.Announced},
		{name: "announced for a while", until: certs.Announced, age: 20 * day},
		{name: "killed before ca.crt was written", steps: 1},
		{name: "killed while it takes over", until: certs.Announced, age: 31 * day, steps: 2},
		{name: "killed when it has taken over", until: certs.Announced, age: 31 * day, steps: 3},
		{name: "taken over", until: certs.TakenOver, age: 31 * day},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{})
				before := snap(t, p)
				overlap := 30 * day
				if row.until != "" {
					must[certs.Rotation](t)(p.RotateCA(&overlap))
				}
				time.Sleep(row.age)
				if row.until == certs.TakenOver {
					must[certs.Rotation](t)(p.RotateCA(nil))
				}
				for range row.steps {
					must[string](t)(p.StepRotation(&overlap))
				}
				found := must[certs.Rotation](t)(p.Rotation())
				r := must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
				if r.Stage != certs.Idle || r.From != found.To || r.Found != found.Stage || r.Ended != found.From || !r.AtOnce {
					t.Errorf("found %+v and left %+v", found, r)
				}
				checkReplaced(t, before, snap(t, p))
			})
		})
	}
}

func TestRotateCA_OverlapOfARotationThatIsUnderWay(t *testing.T) {
	rows := []struct {
		name     string
		takeOver bool
		ask      *time.Duration
		want     time.Duration
		err      error
	}{
		{name: "not asked for", want: 30 * day},
		{name: "the same", ask: new(30 * day), want: 30 * day},
		{name: "shorter", ask: new(10 * day), want: 10 * day},
		{name: "longer", ask: new(60 * day), want: 60 * day},
		{name: "shorter, once it has taken over", takeOver: true, ask: new(10 * day), want: 10 * day},
		{name: "too long", ask: new(6 * year), want: 30 * day, err: certs.ErrOverlap},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{})
				must[certs.Rotation](t)(p.RotateCA(nil))
				if row.takeOver {
					time.Sleep(30 * day)
					must[certs.Rotation](t)(p.RotateCA(nil))
				}
				since := time.Now()
				time.Sleep(day)
				if _, err := p.RotateCA(row.ask); !errors.Is(err, row.err) {
					t.Errorf("error is %v, want %v", err, row.err)
				}
				if r := must[certs.Rotation](t)(p.Rotation()); r.Overlap != row.want || r.Until.Sub(since) != row.want {
					t.Errorf("overlap is %s until %s after its beginning, want %s", r.Overlap, r.Until.Sub(since), row.want)
				}
			})
		})
	}
}

func TestRotateCA_LeavesAloneWhatIsNotItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := issued(t, certs.Request{}), issued(t, certs.Request{})
		// Another CA that the administrator trusts, and a certificate that it issued.
		mixed := snap(t, p)
		mixed[certs.CAFile] += snap(t, other)[certs.CAFile]
		mixed[certs.ServingFile] = snap(t, other)[certs.ServingFile]
		mixed.restore(t, p, certs.CAFile, certs.ServingFile)
		must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
		after := snap(t, p)
		if after[certs.ServingFile] != mixed[certs.ServingFile] {
			t.Error("the other CA's certificate was reissued")
		}
		kept := slices.ContainsFunc(after.bundle(t), snap(t, other).bundle(t)[0].Equal)
		if len(after.bundle(t)) != 2 || !kept {
			t.Errorf("the bundle has %d CAs, the other one among them: %t", len(after.bundle(t)), kept)
		}
	})
}

// Until the overlap is over, the next CA is trusted and signs nothing.
func TestRotateCA_PresentCASignsUntilTheOverlapIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		old := snap(t, p).bundle(t)[0]
		must[certs.Rotation](t)(p.RotateCA(nil))
		must[[]certs.Renewal](t)(p.Renew(true))
		must[[]certs.Change](t)(p.Issue(certs.Request{Hosts: []string{"jobgate.example.com"}}))
		checkIssuer(t, p, old)
		time.Sleep(31 * day)
		must[[]certs.Renewal](t)(p.Renew(true)) // before the rotation has gone on
		s := snap(t, p)
		next := s.bundle(t)[1]
		checkIssuer(t, p, next)
		s.restore(t, p, certs.CAFile) // unchanged, for a new time of change
		must[certs.Rotation](t)(p.RotateCA(nil))
		checkIssuer(t, p, next)
	})
}

func checkIssuer(t *testing.T, p *certs.PKI, ca *x509.Certificate) {
	t.Helper()
	for _, file := range both {
		if leaf := snap(t, p).leaf(t, file); leaf.CheckSignatureFrom(ca) != nil {
			t.Errorf("%s was issued by %s, want %s", file, leaf.Issuer, ca.Subject)
		}
	}
}

// The old key must not stay on disk: a thief who reads it later could sign as long as the old CA is trusted.
func TestRotateCA_OldKeyIsGoneOnceTheNewOneSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		_, key, found := strings.Cut(snap(t, p)[certs.SigningFile], "-----BEGIN EC PRIVATE KEY-----")
		if !found {
			t.Fatal("there is no key")
		}
		must[certs.Rotation](t)(p.RotateCA(nil))
		time.Sleep(31 * day)
		must[certs.Rotation](t)(p.RotateCA(nil))
		for file, content := range snap(t, p) {
			if strings.Contains(content, key) {
				t.Errorf("it is still in %s", file)
			}
		}
	})
}

// Tickets must not outlive the CA that they were given under.
func TestRotateCA_SessionOfAnOldClientCertificateIsNotResumed(t *testing.T) {
	p := issued(t, certs.Request{})
	before := snap(t, p)
	address := serve(t, certs.Files{
		Certificate: p.Dir() + "/" + certs.ServingFile, Key: p.Dir() + "/" + certs.ServingFile, ClientCA: p.Dir() + "/" + certs.CAFile,
	}, nil)
	config := &tls.Config{
		RootCAs: pool(before.bundle(t)), ServerName: "localhost", Certificates: []tls.Certificate{before.pair(t, certs.ClientFile)},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	for _, want := range []bool{false, true} {
		if resumed, err := resume(address, config); err != nil || resumed != want {
			t.Fatalf("with the certificate's own CA, session resumed: %t, %v", resumed, err)
		}
	}
	must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
	// jobgate has to refuse it; it must not refuse jobgate.
	config.RootCAs = pool(append(before.bundle(t), snap(t, p).bundle(t)...))
	eventually.True(t, "the old client certificate is refused", func() bool { _, err := connect(address, config); return err != nil })
	var refusal *net.OpError // of crypto/tls, for an alert of the other end
	if _, err := resume(address, config); !errors.As(err, &refusal) || refusal.Op != "remote error" {
		t.Errorf("a connection that may resume a session ends with: %v", err)
	}
}

// resume connects, and says whether that resumed a session.
func resume(address string, config *tls.Config) (bool, error) {
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return false, err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1)) // the ticket comes before it
	return c.ConnectionState().DidResume, err
}

// An API server that has loaded the old bundle in between gets the whole overlap again.
func TestRotateCA_BundleThatLosesTheNextCAIsGivenItAgainFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		before := snap(t, p)
		must[certs.Rotation](t)(p.RotateCA(nil))
		time.Sleep(20 * day)
		before.restore(t, p, certs.CAFile)
		r := must[certs.Rotation](t)(p.RotateCA(nil))
		if want := time.Now().Add(30 * day); r.Stage != certs.Announced || !r.Until.Equal(want) || len(snap(t, p).bundle(t)) != 2 {
			t.Errorf("%+v, want it to take over at %s", r, want)
		}
	})
}

// An expired CA in the bundle helps no one, and certs show would report it as a problem.
func TestRotateCA_ExpiredCAIsForgottenBeforeTheOverlapIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		time.Sleep(10*year - 20*day)
		must[certs.Rotation](t)(p.RotateCA(new(10 * day)))
		time.Sleep(15 * day) // and jobgate was down
		if r := must[certs.Rotation](t)(p.RotateCA(nil)); r.Stage != certs.TakenOver || time.Until(r.Until) != 10*day {
			t.Errorf("late: %+v", r)
		}
		time.Sleep(5*day + time.Second)
		if r := must[certs.Rotation](t)(p.RotateCA(nil)); r.Stage != certs.Idle || len(snap(t, p).bundle(t)) != 1 {
			t.Errorf("after its end: %+v", r)
		}
	})
}
