// Starts the dashboard in a browser.

import { render } from 'preact';
import { Application } from './application.tsx';
import './styles/tokens.css';
import './styles/base.css';
import './styles/panel.css';
import './styles/frame.css';

const place = document.getElementById('application');
if (place !== null) {
  place.textContent = '';
  render(<Application />, place);
}
