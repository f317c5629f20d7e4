import { render } from 'preact';
import { initLanguage } from './i18n/language';
import { App } from './ui/app';
import { loadVisited } from './visit/visited';
import './ui/styles/base.css';
import './ui/styles/pages.css';
import './ui/styles/room.css';
import './ui/styles/toolbar.css';
import './ui/styles/panels.css';

initLanguage();
loadVisited();
const root = document.getElementById('app');
if (root !== null) render(<App />, root);
