// Many participants in one page, each with a connection of its own that sends a small drawn picture and a tone and
// receives nothing: a full room for as little as it costs.

/** Joins `names` to `room` from `page`, which must be on a page of the service. `await leave()` ends them all. */
export async function crowd(page, service, room, names, { camera = true, microphone = true } = {}) {
    await page.evaluate(joinAll, { url: `${service.url.replace('http', 'ws')}/api/signalling`, room, names, camera, microphone });
    return {
        /** Whoever `name` is stops sending, as a frozen machine does, and stays in the room. */
        freeze: (name) => page.evaluate((name) => window.crowd.get(name).freeze(), name),
        leave: (...which) => page.evaluate((which) => which.forEach((name) => window.crowd.get(name).leave()), which.length ? which : names),
        say: (name, message) => page.evaluate((name, message) => window.crowd.get(name).send(message), name, message),
    };
}

// Runs in the page.
async function joinAll({ url, room, names, camera, microphone }) {
    window.crowd ??= new Map();
    const hue = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
    const join = async (name) => {
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [320, 180];
        const drawing = canvas.getContext('2d');
        let step = 0;
        const draw = () => {
            step += 1;
            const sky = drawing.createLinearGradient(0, 0, 320, 180);
            sky.addColorStop(0, `hsl(${hue(name)} 35% 62%)`);
            sky.addColorStop(1, `hsl(${(hue(name) + 40) % 360} 40% 32%)`);
            drawing.fillStyle = sky;
            drawing.fillRect(0, 0, 320, 180);
            // Somebody before a wall, who nods.
            drawing.fillStyle = `hsl(${hue(name)} 25% 20%)`;
            drawing.beginPath();
            drawing.ellipse(160, 190, 78, 68, 0, 0, 7);
            drawing.fill();
            drawing.fillStyle = `hsl(${18 + (hue(name) % 14)} 45% ${45 + (hue(name) % 30)}%)`;
            drawing.beginPath();
            drawing.ellipse(160, 88 + 2 * Math.sin(step / 3), 36, 45, 0, 0, 7);
            drawing.fill();
        };
        draw();
        const timer = setInterval(draw, 200);
        const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const audio = connection.addTransceiver('audio', { direction: 'sendonly' });
        const video = connection.addTransceiver('video', { direction: 'sendonly' });
        const sound = new AudioContext();
        if (microphone) {
            const quiet = sound.createGain();
            quiet.gain.value = 0.001;
            const tone = sound.createOscillator();
            const out = sound.createMediaStreamDestination();
            tone.connect(quiet).connect(out);
            tone.start();
            await audio.sender.replaceTrack(out.stream.getAudioTracks()[0]);
        }
        if (camera) await video.sender.replaceTrack(canvas.captureStream(5).getVideoTracks()[0]);
        await connection.setLocalDescription();
        const socket = new WebSocket(url);
        const send = (message) => socket.send(JSON.stringify(message));
        await new Promise((done, failed) => {
            socket.onopen = () =>
                send({
                    type: 'join',
                    version: 1,
                    room,
                    name,
                    media: { microphone, camera, screen: false },
                    offer: { id: 1, connection: 1, sdp: connection.localDescription.sdp, sends: { microphone: audio.mid, camera: video.mid }, slots: [] },
                });
            socket.onmessage = async ({ data }) => {
                const message = JSON.parse(data);
                if (message.type === 'error') failed(new Error(`${name} is refused: ${message.code}`));
                if (message.type !== 'welcome') return;
                await connection.setRemoteDescription({ type: 'answer', sdp: message.answer.sdp });
                done();
            };
            socket.onclose = () => failed(new Error(`${name}'s socket closed`));
        });
        window.crowd.set(name, {
            send,
            freeze: () => {
                clearInterval(timer);
                void audio.sender.replaceTrack(null);
                void video.sender.replaceTrack(null);
            },
            leave: () => {
                clearInterval(timer);
                send({ type: 'leave' });
                connection.close();
                void sound.close();
            },
        });
    };
    for (const name of names) await join(name);
}
