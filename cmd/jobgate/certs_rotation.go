package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/certs"
)

func newCertsRotateCommand() *cobra.Command {
	var dir pkiFlag
	overlap, output := time.Duration(0), outputFlag{formats: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "rotate-ca --pki DIR [--overlap DURATION]",
		Short: "Replace the CA of a PKI in steps, so that no one is refused; or say how far that has come",
		Long: "Replace the CA of a PKI in steps, so that no one is refused; or say how far that has come.\n\n" +
			"The new CA is trusted at once. After the overlap it signs. After another overlap the old CA is no longer trusted.\n" +
			"jobgate serve --pki takes the later steps; without it, run the command again when they are due. API servers from 1.36 on\n" +
			"read ca.crt every 5 minutes. Restart older ones within the first overlap.\n\n" +
			"If the CA's key was stolen, --overlap 0s takes all steps now, also those of a rotation that is under way. CI jobs are\n" +
			"refused until you have restarted every kube-apiserver; the command says how.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pki, err := dir.open()
			if err != nil {
				return err
			}
			chosen := &overlap
			if !cmd.Flags().Changed("overlap") {
				chosen = nil
			}
			if overlap < 0 {
				return badUsage("--overlap is %s; it cannot be negative", overlap)
			}
			r, err := pki.RotateCA(chosen)
			if errors.Is(err, certs.ErrOverlap) {
				return badUsage("%w", err)
			}
			// What was written before an error is there to stay.
			return errors.Join(writeRotation(cmd, &output, dir.dir, r, err == nil), err)
		},
	}
	dir.add(cmd)
	output.add(cmd)
	cmd.Flags().DurationVar(&overlap, "overlap", 0,
		"time between the steps (default 720h, or a twelfth of the CA's lifetime if that is less); also changes a rotation that is under way")
	return cmd
}

// shownRotation is a rotation in JSON.
type shownRotation struct {
	Stage   certs.Stage `json:"stage,omitempty"`
	From    string      `json:"from,omitempty"`
	To      string      `json:"to,omitempty"`
	Overlap string      `json:"overlap,omitempty"`
	Until   *time.Time  `json:"until,omitempty"`
	Message string      `json:"message,omitempty"`
}

func showRotation(r certs.Rotation) *shownRotation {
	s := &shownRotation{Stage: r.Stage, From: r.From, To: r.To, Message: rotationText(r)}
	if r.Stage != certs.Idle {
		s.Overlap, s.Until = r.Overlap.String(), &r.Until
	}
	return s
}

func writeRotation(cmd *cobra.Command, output *outputFlag, dir string, r certs.Rotation, complete bool) error {
	w, changes := cmd.OutOrStdout(), certsChanges(dir, r.Changes)
	if output.is("json") {
		s := &shownRotation{}
		if complete {
			s = showRotation(r)
		}
		return writeJSON(w, struct {
			*shownRotation
			Changes []certsChange `json:"changes"`
		}{s, changes})
	}
	if err := writeChanges(w, "changed", changes); err != nil || !complete {
		return err
	}
	_, err := fmt.Fprintln(w, rotationText(r))
	return err
}

// rotationText says how far a rotation has come, and what to do.
func rotationText(r certs.Rotation) string {
	var text string
	until := r.Until.UTC().Format(time.RFC3339)
	switch {
	case r.Stage == certs.Announced:
		text = fmt.Sprintf("CA %s is trusted beside %s, and signs from %s on; restart API servers older than 1.36 before", r.To, r.From, until)
	case r.Stage == certs.TakenOver:
		text = fmt.Sprintf("CA %s signs; %s is trusted until %s", r.To, r.From, until)
	case r.Ended != "":
		text = fmt.Sprintf("CA %s signs; CA %s is no longer trusted; no rotation is under way", r.From, r.Ended)
		if r.AtOnce {
			text += "\n" + restartText(r)
		}
		return text
	default:
		return fmt.Sprintf("CA %s signs; no rotation is under way", r.From)
	}
	if r.Overlap < certs.ReloadInterval {
		text += fmt.Sprintf("\nwarning: the overlap of %s is shorter than the %s in which an API server reads ca.crt again: "+
			"it may refuse CI jobs until then, or until it is restarted", r.Overlap, certs.ReloadInterval)
	}
	return text
}

// restartText says how API servers learn at once of a CA that has just replaced another.
func restartText(r certs.Rotation) string {
	text := ""
	if r.Found != certs.Idle {
		text = fmt.Sprintf("CA %s was made before this command. If its key may be stolen, too, run the command once more, now.\n", r.From)
	}
	return text + "Restart every kube-apiserver now. Until it has read ca.crt and client.pem again, it refuses CI jobs.\n" +
		"  kubeadm:    move kube-apiserver.yaml out of /etc/kubernetes/manifests, wait until\n" +
		"              `crictl ps --name kube-apiserver` shows none, and move it back\n" +
		"  k3s, RKE2:  systemctl restart k3s, or rke2-server\n" +
		"  Talos:      run jobgate init again where it ran before, and apply the patch"
}
